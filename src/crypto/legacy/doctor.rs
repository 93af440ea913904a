//! The hash doctor: which profiles a hash may have been made under, when nobody knows any more.
//!
//! It lists suspects, best first; the hash pool tells which of them verify. Looks alone cannot
//! tell: 32 bare hex digits are at least six formats, and some formats compute the same, so that
//! more than one verifies.
//!
//! Fewer assumptions come first. In [`Suspect::assumptions`], each of these counts:
//!
//! ```text
//! 0  the hash describes itself
//! 1  a shop's format, or a plain digest         more where its looks speak for another
//! 1  trim, htmlspecialchars, strip_tags, latin1: what a shop does not tell
//! 2  md5hex, utf16le, a pepper that the format does not ask for; 3 where it is in the other place
//! ```
//!
//! What leaves this password as it is, is no suspect: no hash of it could tell.

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::encoding::{base64, base64_of_either};
use super::hashes::Algorithm;
use super::{AnyScheme, HashProfile, HashRejected, LegacyHash, Limits, Stored};
use crate::crypto::secret::Password;

/// How many bytes a signer key of Firebase has, at least.
const SIGNER_KEY_BYTES: usize = 32;

/// A profile that a hash may have been made under.
pub struct Suspect {
    /// The profile as the API writes it; a pepper that was given is in it.
    pub profile: Value,
    /// How much is assumed that does not show.
    pub assumptions: u32,
    /// The hash, as it is under this profile.
    pub hash: LegacyHash,
}

impl Suspect {
    /// Whether the hash is also taken without the profile.
    pub const fn describes_itself(&self) -> bool {
        self.assumptions == 0
    }
}

/// What is known of a hash.
struct Looks<'a> {
    hash: &'a str,
    salt: Option<&'a str>,
    pepper: Option<&'a str>,
}

/// The profiles a hash may have been made under, fewer assumptions first. The password tells which
/// of them differ for it.
pub fn suspects(
    hash: &str,
    salt: Option<&str>,
    pepper: Option<&str>,
    password: &Password,
    limits: Limits,
) -> Result<Vec<Suspect>, HashRejected> {
    let stored = Stored::new(hash, salt, limits)?;
    let mut list = List { stored, password, suspects: Vec::new(), rejected: None };
    let looks = Looks { hash, salt: stored.salt, pepper: pepper.filter(|text| !text.is_empty()) };
    if let Some(scheme) = AnyScheme::recognise(hash) {
        // The column may hold the salts of older rows' formats; this hash has its own.
        list.stored.salt = None;
        let name = scheme.name();
        list.add(0, &json!({ "scheme": name }), looks.pepper);
        if let Some(pepper) = looks.pepper.filter(|_| name == "bcrypt") {
            list.add(1, &json!({ "scheme": "devise", "pepper": pepper }), None);
        }
    } else {
        for (assumptions, profile) in looks.peppered() {
            list.add(assumptions, &profile, None);
        }
        for (assumptions, profile) in looks.of_shops().into_iter().chain(looks.of_digests()) {
            list.add(assumptions, &profile, looks.pepper);
        }
    }
    if list.suspects.is_empty() {
        return Err(list.rejected.unwrap_or(HashRejected::UnsupportedHash));
    }
    list.suspects.sort_by_key(|suspect| suspect.assumptions);
    Ok(list.suspects)
}

impl Looks<'_> {
    /// Formats that ask for a pepper, under whatever name.
    fn peppered(&self) -> Vec<(u32, Value)> {
        let Some(pepper) = self.pepper else { return Vec::new() };
        let mut found = vec![
            (1, json!({ "scheme": "prestashop", "pepper": pepper })),
            (2, json!({ "scheme": "magento2", "pepper": pepper })),
        ];
        if base64_of_either(pepper).is_some_and(|key| key.len() >= SIGNER_KEY_BYTES) {
            found.push((
                1,
                json!({
                    "scheme": "firebase-scrypt", "signer_key": pepper, "salt_separator": "Bw==",
                    "rounds": 8, "mem_cost": 14,
                }),
            ));
        }
        if let Some(digest) = self.algorithm() {
            let keyed = json!({
                "scheme": "digest", "digest": digest, "hmac": true, "pepper": pepper,
                "encoding": self.encoding(),
            });
            found.push((3, keyed.clone()));
            if self.salt.is_some() {
                found.push((4, with(&keyed, "salt_position", "prefix")));
                found.push((4, with(&keyed, "salt_position", "suffix")));
            }
        }
        found
    }

    /// Shops' formats. Of those that compute the same, the one whose salts look like this one's
    /// comes first.
    fn of_shops(&self) -> Vec<(u32, Value)> {
        let inner = self.hash.split_once(':').map(|(_, salt)| salt.len());
        let likely = |is_so: bool| if is_so { 1 } else { 3 };
        let mut found = vec![
            (likely(inner.is_some()), json!({ "scheme": "magento1" })),
            (likely(inner == Some(2)) + 1, json!({ "scheme": "oscommerce" })),
            (likely(inner == Some(32)), json!({ "scheme": "joomla-md5" })),
            (likely(inner.is_some()) + 1, json!({ "scheme": "shopware-md5" })),
            (1, json!({ "scheme": "shopware-sha256" })),
            (4, json!({ "scheme": "magento2" })),
            (1, json!({ "scheme": "aspnet-identity" })),
            (likely(self.salt.is_some()), json!({ "scheme": "opencart" })),
            (2, json!({ "scheme": "phpass" })),
            (3, json!({ "scheme": "django" })),
            (1, json!({ "scheme": "authlogic", "stretches": 20 })),
        ];
        if let Some(digest) = self.algorithm() {
            let shop = json!({ "scheme": "symfony-message-digest", "digest": digest });
            found.push((1, with(&shop, "iterations", 5000)));
            found.push((3, with(&shop, "iterations", 1)));
            // Its salts are base 64, its hashes upper case.
            let is_upper = !self.hash.bytes().any(|letter| letter.is_ascii_lowercase());
            let usual = is_upper && self.salt.is_some_and(|salt| salt.ends_with('='));
            found.push((likely(usual), json!({ "scheme": "nopcommerce", "digest": digest })));
        }
        found.extend(self.of_symfony_pbkdf2());
        found
    }

    fn of_symfony_pbkdf2(&self) -> Vec<(u32, Value)> {
        let decoded = base64(self.hash).or_else(|| hex::decode(self.hash).ok());
        let length = decoded.map_or(0, |key| key.len());
        // A shorter key is no one's.
        if length < 20 {
            return Vec::new();
        }
        let runs = [("sha512", 1000), ("sha512", 5000), ("sha512", 10_000), ("sha256", 1000)];
        let profiles = runs.into_iter().map(|(digest, iterations)| {
            let unusual = (digest, iterations) != ("sha512", 1000);
            let profile = json!({
                "scheme": "symfony-pbkdf2", "digest": digest, "iterations": iterations,
                "length": length,
            });
            (1 + u32::from(length != 40) + u32::from(unusual), profile)
        });
        profiles.collect()
    }

    /// The general scheme, as far as it can be guessed.
    fn of_digests(&self) -> Vec<(u32, Value)> {
        let Some(digest) = self.algorithm() else { return Vec::new() };
        let mut plain = json!({ "scheme": "digest", "digest": digest, "salt_position": "none" });
        if self.encoding() != "hex" {
            plain = with(&plain, "encoding", self.encoding());
        }
        let twice = with(&plain, "rounds", 2);
        let mut found = vec![(1, plain.clone()), (4, with(&twice, "chain", "hex")), (4, twice)];
        let Some(salt) = self.salt else { return found };
        let mut encodings = vec![(0, "utf8")];
        encodings.extend(hex::decode(salt).is_ok().then_some((1, "hex")));
        encodings.extend(base64(salt).is_some().then_some((1, "base64")));
        for (assumptions, encoding) in encodings {
            let salted = with(&plain, "salt_encoding", encoding);
            found.push((2 + assumptions, with(&salted, "salt_position", "prefix")));
            found.push((2 + assumptions, with(&salted, "salt_position", "suffix")));
            found.push((3 + assumptions, with(&salted, "hmac", true)));
        }
        found
    }

    /// The algorithm whose digests are as long as this hash, where that is all the hash is.
    fn algorithm(&self) -> Option<Algorithm> {
        let of_hex = hex::decode(self.hash).ok();
        let digest = of_hex.or_else(|| base64(self.hash))?;
        Algorithm::of_output_bytes(digest.len())
    }

    fn encoding(&self) -> &'static str {
        if hex::decode(self.hash).is_ok() { "hex" } else { "base64" }
    }
}

/// The suspects so far.
struct List<'a> {
    stored: Stored<'a>,
    password: &'a Password,
    suspects: Vec<Suspect>,
    /// The most telling reason why profiles are none.
    rejected: Option<HashRejected>,
}

impl List<'_> {
    /// Adds a profile with what shops do beside, where it can have made the hash.
    fn add(&mut self, assumptions: u32, profile: &Value, pepper: Option<&str>) {
        let Some(untouched) = self.add_one(assumptions, profile.clone(), &[]) else { return };
        let known = self.add_touched(assumptions, profile, untouched);
        let Some(pepper) = pepper else { return };
        let peppered = with(profile, "pepper", pepper);
        if let Some(first) = self.add_one(assumptions + 2, peppered.clone(), &known) {
            self.add_touched(assumptions + 2, &peppered, first);
        }
        for position in ["prefix", "suffix"] {
            let placed = with(&peppered, "pepper_position", position);
            self.add_one(assumptions + 3, placed, &known);
        }
    }

    /// Adds a profile with each thing that shops do to a password and do not tell. Gives the forms
    /// of the password that are dealt with.
    fn add_touched(&mut self, assumptions: u32, profile: &Value, first: Forms) -> Vec<Forms> {
        let mut known = vec![first];
        for (more, member, value) in [
            (1, "pre_transform", "trim"),
            (1, "pre_transform", "htmlspecialchars"),
            (1, "pre_transform", "strip_tags"),
            (1, "password_encoding", "latin1"),
            (2, "pre_transform", "md5hex"),
            (2, "password_encoding", "utf16le"),
        ] {
            let touched = with(profile, member, value);
            known.extend(self.add_one(assumptions + more, touched, &known));
        }
        known
    }

    /// Adds a profile, if it can have made the hash and prepares the password in a way that is not
    /// known yet.
    fn add_one(&mut self, assumptions: u32, profile: Value, known: &[Forms]) -> Option<Forms> {
        let members = Zeroizing::new(serde_json::to_vec(&profile).ok()?);
        let read = HashProfile::from_json(&members).ok()?;
        let hash = match read.parse(self.stored) {
            Ok(hash) => hash,
            Err(rejected) => {
                self.reject(rejected);
                return None;
            }
        };
        let hash = LegacyHash { hash, recipe: read.recipe() };
        let forms = hash.recipe.prepare(self.password.expose());
        if forms.is_empty() || known.contains(&forms) {
            return None;
        }
        self.suspects.push(Suspect { profile, assumptions, hash });
        Some(forms)
    }

    /// That it costs too much, or lacks its salt, says more than that its format is another.
    fn reject(&mut self, rejected: HashRejected) {
        let telling = |rejected| match rejected {
            HashRejected::CostOutOfBounds => 2,
            HashRejected::SaltRequired => 1,
            _ => 0,
        };
        if self.rejected.is_none_or(|known| telling(rejected) > telling(known)) {
            self.rejected = Some(rejected);
        }
    }
}

/// What a profile makes of the password.
type Forms = Vec<Zeroizing<Vec<u8>>>;

/// A profile with one member more.
fn with(profile: &Value, member: &str, value: impl Into<Value>) -> Value {
    let mut members = profile.as_object().cloned().unwrap_or_else(Map::new);
    members.insert(member.to_owned(), value.into());
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::legacy::verify;

    fn diagnoses(
        hash: &str,
        salt: Option<&str>,
        pepper: Option<&str>,
        password: &str,
    ) -> Vec<(String, Value)> {
        let password = Password::new(password.to_owned());
        let found = suspects(hash, salt, pepper, &password, Limits::default()).unwrap();
        let verified = found.into_iter().filter(|suspect| verify(&suspect.hash, &password));
        let named = |suspect: Suspect| {
            (suspect.profile["scheme"].as_str().unwrap().to_owned(), suspect.profile)
        };
        verified.map(named).collect()
    }

    fn names(found: &[(String, Value)]) -> Vec<&str> {
        found.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn formats_that_compute_the_same_are_all_listed() {
        // MD5 of "p".
        let found = diagnoses("83878c91171338902e0fe0fb97a8c47a", None, None, "p");
        let all = ["digest", "phpass", "magento1", "joomla-md5", "django", "opencart"];
        assert_eq!(
            found[0].1,
            json!({ "scheme": "digest", "digest": "md5", "salt_position": "none" })
        );
        assert!(all.iter().all(|name| names(&found).contains(name)), "{found:?}");
        assert!(diagnoses("83878c91171338902e0fe0fb97a8c47a", None, None, "q").is_empty());
    }

    #[test]
    fn what_a_shop_did_to_the_password_is_found() {
        let cases: [(&str, &[u8], &str); 4] = [
            ("p", b"83878c91171338902e0fe0fb97a8c47a", "pre_transform"),
            (" p ", b"p", "pre_transform"),
            ("a<b>c", b"ac", "pre_transform"),
            ("\u{e9}", &[0xe9], "password_encoding"),
        ];
        for (password, hashed, member) in cases {
            let hash = hex::encode(&*Algorithm::Sha1.digest(&[hashed]));
            let found = diagnoses(&hash, None, None, password);
            assert_eq!(found[0].0, "digest", "{found:?}");
            assert!(found[0].1.get(member).is_some(), "{found:?}");
        }
    }

    #[test]
    fn the_most_telling_reason_is_given() {
        let password = Password::new("p".to_owned());
        let rejected = |hash: &str| {
            suspects(hash, None, None, &password, Limits::default()).err().map(|it| it.to_string())
        };
        let too_much = HashRejected::CostOutOfBounds.to_string();
        assert_eq!(
            rejected("$2y$31$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W"),
            Some(too_much)
        );
        assert_eq!(rejected("nonsense"), Some(HashRejected::UnsupportedHash.to_string()));
    }
}
