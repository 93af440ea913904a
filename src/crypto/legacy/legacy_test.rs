//! Tests of the legacy formats: every vector, and hostile input.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const VECTORS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/legacy-hashes.jsonl"));

/// Made by `tests/vectors/more-hashes.*`; each line says by what.
const MORE_VECTORS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/more-hashes.jsonl"));

#[derive(Deserialize)]
struct Vector {
    format: String,
    password: String,
    hash: String,
    salt: Option<String>,
    profile: Option<serde_json::Value>,
}

fn profile(json: &str) -> HashProfile {
    HashProfile::from_json(json.as_bytes()).unwrap()
}

fn admit(
    hash: &str,
    salt: Option<&str>,
    profile: Option<&HashProfile>,
) -> Result<LegacyHash, HashRejected> {
    super::admit(hash, salt, profile, Limits::default())
}

fn matches(hash: &LegacyHash, password: &str) -> bool {
    verify(hash, &Password::new(password.to_owned()))
}

fn vectors() -> impl Iterator<Item = Vector> {
    [VECTORS, MORE_VECTORS]
        .into_iter()
        .flat_map(str::lines)
        .map(|line| serde_json::from_str(line).unwrap())
}

/// Every one, of both files. The profile's default is not needed where a hash describes itself.
#[test]
fn every_vector_verifies_and_a_wrong_password_does_not() {
    let mut schemes = BTreeSet::new();
    for Vector { format, password, hash, salt, profile } in vectors() {
        let profile =
            profile.map(|profile| serde_json::from_value::<HashProfile>(profile).unwrap());
        let admitted = admit(&hash, salt.as_deref(), profile.as_ref());
        let admitted = admitted.unwrap_or_else(|rejected| panic!("{format} {hash}: {rejected}"));
        schemes.insert(admitted.hash.name());
        assert!(matches(&admitted, &password), "{format} {hash}");
        assert!(!matches(&admitted, &format!("{password}!")), "{format} {hash}");
        assert!(!matches(&admitted, ""), "{format} {hash}");
    }
    assert_eq!(schemes, AnyScheme::NAMES.into_iter().collect(), "each scheme has a vector");
}

/// What is documented is what is built.
#[test]
fn the_documents_name_every_scheme_and_show_profiles_that_are_some() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hashes.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<_> = rows.filter(|name| AnyScheme::NAMES.contains(name)).collect();
    let built: BTreeSet<_> = AnyScheme::NAMES.into_iter().collect();
    assert_eq!(documented, built);
    let contract = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi.json"));
    let contract: serde_json::Value = serde_json::from_str(contract).unwrap();
    let listed = &contract["components"]["schemas"]["HashProfile"]["properties"]["scheme"]["enum"];
    let listed = listed.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    assert_eq!(listed.collect::<BTreeSet<_>>(), built);
    let shown = page.split("```json").skip(1).map(|rest| rest.split("```").next().unwrap());
    assert!(shown.map(profile).count() > 5);
}

/// With the pepper, or what stands for one, as a company would give it. All that verify are listed;
/// the right one is the first.
#[test]
fn the_doctor_finds_every_vectors_profile_first() {
    let first_file = VECTORS.lines().map(|line| serde_json::from_str(line).unwrap());
    for Vector { format, password, hash, salt, profile } in first_file {
        let described =
            AnyScheme::recognise(&hash).map(|scheme| json!({ "scheme": scheme.name() }));
        let right = profile.or(described).unwrap();
        let pepper = ["pepper", "signer_key"].iter().find_map(|name| right[*name].as_str());
        let password = Password::new(password);
        let (salt, limits) = (salt.as_deref(), Limits::default());
        let mut found = doctor::suspects(&hash, salt, pepper, &password, limits).unwrap();
        let best = found.iter().position(|suspect| verify(&suspect.hash, &password));
        let best = best.unwrap_or_else(|| panic!("{format}: nothing verifies"));
        assert_eq!(found[best].profile, right, "{format} {hash}");
        // What is tried up to it is work for less than a second.
        let work: u32 = found.drain(..=best).map(|it| it.hash.cost_for(&password)).sum();
        assert!(work < 1_000_000, "{format} {hash}: {work} us");
    }
}

mod admission {
    use super::*;

    const BCRYPT: &str = "$2y$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W";
    const MD5: &str = "9cc2ae8a1ba7a93da39b46fc1019c481";

    fn rejected(hash: &str, salt: Option<&str>, profile: Option<&str>) -> HashRejected {
        admit(hash, salt, profile.map(super::profile).as_ref()).unwrap_err()
    }

    #[test]
    fn a_bare_digest_needs_a_profile() {
        assert_eq!(rejected(MD5, None, None), HashRejected::UnsupportedHash);
        assert_eq!(rejected("", None, None), HashRejected::UnsupportedHash);
        assert_eq!(rejected(&format!("{MD5}:aB"), None, None), HashRejected::UnsupportedHash);
    }

    #[test]
    fn bcrypt_is_bounded_and_2x_refused() {
        for cost in ["03", "15", "31", "99"] {
            let hash = BCRYPT.replace("$10$", &format!("${cost}$"));
            assert_eq!(rejected(&hash, None, None), HashRejected::CostOutOfBounds);
            let magento = Some(r#"{"scheme":"magento1"}"#);
            assert_eq!(rejected(&hash, None, magento), HashRejected::CostOutOfBounds);
        }
        let signed = BCRYPT.replace("$2y$", "$2x$");
        assert_eq!(rejected(&signed, None, None), HashRejected::UnsupportedHash);
        let digest = Some(r#"{"scheme":"digest","digest":"md5"}"#);
        assert_eq!(rejected(&signed, None, digest), HashRejected::UnsupportedHash);
    }

    #[test]
    fn lengths_are_bounded() {
        let long = "a".repeat(1_000_000);
        assert_eq!(rejected(&long, None, None), HashRejected::TooLong);
        assert_eq!(rejected(BCRYPT, Some(&long), None), HashRejected::TooLong);
        let hash = admit(BCRYPT, None, None).unwrap();
        assert!(!matches(&hash, &long));
    }

    #[test]
    fn salts_are_where_the_format_wants_them() {
        let plain = Some(r#"{"scheme":"digest","digest":"md5"}"#);
        let salted = Some(r#"{"scheme":"digest","digest":"md5","salt_position":"prefix"}"#);
        let hex =
            r#"{"scheme":"digest","digest":"md5","salt_position":"prefix","salt_encoding":"hex"}"#;
        assert_eq!(rejected(MD5, Some("salt"), plain), HashRejected::SaltRefused);
        assert_eq!(rejected(MD5, None, salted), HashRejected::SaltRequired);
        assert_eq!(rejected(MD5, Some(""), salted), HashRejected::SaltRequired);
        assert_eq!(rejected(MD5, Some("xyz"), Some(hex)), HashRejected::SaltRefused);
        assert!(admit(MD5, Some(""), plain.map(super::profile).as_ref()).is_ok());
    }

    /// A shop that moved on keeps one column; the old scheme's pepper is not for the new hashes.
    #[test]
    fn a_self_describing_hash_is_taken_under_another_profile() {
        let profile = super::profile(
            r#"{"scheme":"digest","digest":"md5","pepper":"PEP","pre_transform":"trim"}"#,
        );
        let hash = admit(BCRYPT, Some("old salt"), Some(&profile)).unwrap();
        assert!(matches(&hash, " correct horse battery staple"));
    }

    #[test]
    fn bcrypt_counts_to_the_72nd_byte_as_it_always_did() {
        let long = "p".repeat(72);
        let made = ::bcrypt::hash(&long, 4).unwrap();
        let hash = admit(&made, None, None).unwrap();
        assert!(matches(&hash, &long));
        assert!(matches(&hash, &format!("{long}y")));
        assert!(!matches(&hash, &long[1..]));
        assert!(!matches(&hash, "p\0"));
    }

    #[test]
    fn cheap_ones_say_so_and_debug_is_redacted() {
        let expensive = admit(BCRYPT, None, None).unwrap();
        let cheap = admit(MD5, None, Some(&super::profile(r#"{"scheme":"magento1"}"#))).unwrap();
        assert!(cheap.relative_cost() < expensive.relative_cost());
        assert_eq!(format!("{expensive:?}"), "LegacyHash(bcrypt, [redacted])");
        assert_eq!(format!("{cheap:?}"), "LegacyHash(magento1, [redacted])");
    }
}

mod magento1 {
    use super::*;

    fn magento(hash: &str) -> Result<LegacyHash, HashRejected> {
        admit(hash, None, Some(&profile(r#"{"scheme":"magento1"}"#)))
    }

    fn sha256_hex(text: &str) -> String {
        hex::encode(&*hashes::Algorithm::Sha256.digest(&[text.as_bytes()]))
    }

    #[test]
    fn the_salt_may_lack_be_empty_or_have_colons() {
        assert!(matches(&magento(&sha256_hex("p")).unwrap(), "p"));
        assert!(matches(&magento(&format!("{}:", sha256_hex("p"))).unwrap(), "p"));
        assert!(matches(&magento(&format!("{}:a:b", sha256_hex("a:bp"))).unwrap(), "p"));
        assert!(matches(&magento(&sha256_hex("p").to_uppercase()).unwrap(), "p"));
    }

    #[test]
    fn only_md5_takes_more_than_256_bytes() {
        let (at, beyond) = ("p".repeat(256), "p".repeat(257));
        assert!(matches(&magento(&sha256_hex(&at)).unwrap(), &at));
        assert!(!matches(&magento(&sha256_hex(&beyond)).unwrap(), &beyond));
        let md5 = hex::encode(&*hashes::Algorithm::Md5.digest(&[beyond.as_bytes()]));
        assert!(matches(&magento(&md5).unwrap(), &beyond));
        let bcrypt = ::bcrypt::hash(&beyond, 4).unwrap();
        assert!(!matches(&magento(&bcrypt).unwrap(), &beyond));
    }

    #[test]
    fn other_shapes_are_refused() {
        for hash in ["", ":", ":aB", "abc", "zz", &"a".repeat(40), &"a".repeat(130), "\u{e9}:aB"] {
            assert_eq!(magento(hash).unwrap_err(), HashRejected::UnsupportedHash, "{hash}");
        }
    }
}

/// Expected values from Python's hashlib and hmac.
mod digest {
    use super::*;

    fn check(parameters: &str, salt: Option<&str>, hash: &str) {
        let json = format!(r#"{{"scheme":"digest",{parameters}}}"#);
        let hash = admit(hash, salt, Some(&profile(&json))).unwrap();
        assert!(matches(&hash, "p\u{e4}ss"), "{json}");
        assert!(!matches(&hash, "pass"), "{json}");
    }

    #[test]
    fn every_parameter_counts() {
        check(r#""digest":"md5""#, None, "9CB017269B4D82E205AB28E304372EA6");
        check(
            r#""digest":"sha224","salt_position":"prefix""#,
            Some("salt"),
            "c7e298ddd7f10cadc0d29fc8e46ee241886974096206270c083704ef",
        );
        check(
            r#""digest":"sha384","salt_position":"suffix""#,
            Some("salt"),
            "4b9a98fc8d7862983a1cdfc1b8868b867d912f3ff592bc32f1ccf0b6d084e996dc0fafbe0cc7\
             c4051531709593fb0755",
        );
        check(r#""digest":"sha1","encoding":"base64""#, None, "ta81cOE4wM/twp7YSmra6UHf0uo=");
        check(r#""digest":"sha1","encoding":"base64""#, None, "ta81cOE4wM/twp7YSmra6UHf0uo");
        check(
            r#""digest":"md5","salt_position":"prefix","salt_encoding":"hex""#,
            Some("00ff"),
            "40eabd8d70fa654b659ea07487a14820",
        );
        check(
            r#""digest":"md5","salt_position":"suffix","salt_encoding":"base64""#,
            Some("AP8="),
            "e61c0d884bd3da3440a5420bf365f0cf",
        );
        check(
            r#""digest":"sha256","hmac":true"#,
            Some("key"),
            "153b4bc0a185e8b58ca29ff25483e2730026b68b37107a53cadbbf4a055c1d7e",
        );
        check(
            r#""digest":"sha512","salt_position":"suffix","rounds":5"#,
            Some("salt"),
            "c96d55024bdab02ba3a9879130d74d2621047a9851261effdbbecb389f58597f9de9dde251e5\
             59ef63d7a2fc619df6bd0e4fa80131182a02c8f765e8dc8d8391",
        );
        check(
            r#""digest":"sha512","salt_position":"suffix","rounds":5,"chain":"hex""#,
            Some("salt"),
            "5b88d102ff0417a743481658d546f70304b77b765ca900fabda64faf3267a9abc8335a3f4300\
             3747783a6157599a74881cbc220112cde63099f7526236a236b8",
        );
        check(
            r#""digest":"md5","salt_position":"prefix","pepper":"PEP""#,
            Some("salt"),
            "4a7fdd971fe009d9b1211f5f8989d54b",
        );
        check(
            r#""digest":"md5","pepper":"PEP","pepper_position":"suffix""#,
            None,
            "62e0dd40702d9690a1d415276da3a7f8",
        );
        check(
            r#""digest":"md5","password_encoding":"latin1""#,
            None,
            "6d3c82fee0888c83203492f7d41b8233",
        );
        check(
            r#""digest":"md5","password_encoding":"utf16le""#,
            None,
            "f2d4bedbae9a7fd1802d68f65b358f2a",
        );
        check(
            r#""digest":"sha1","pre_transform":"md5hex""#,
            None,
            "02414b32de96f264974deacba2d2fc9f93ddc336",
        );
    }

    #[test]
    fn a_pepper_is_an_hmacs_key() {
        check(
            r#""digest":"sha1","hmac":true,"pepper":"PEP""#,
            None,
            "128f8b4e05e2eda76a7fc0add02601cae1591a87",
        );
        let salted = r#""digest":"sha1","hmac":true,"pepper":"PEP","salt_position":"suffix""#;
        check(salted, Some("salt"), "8b33e41daef6c81cc00b9241a15e36125fd56441");
    }

    #[test]
    fn profiles_out_of_bounds_are_refused() {
        let refused = [
            r#""digest":"md5","rounds":0"#,
            r#""digest":"md5","rounds":1000001"#,
            r#""digest":"md5","rounds":-1"#,
            r#""digest":"md5","hmac":true,"rounds":2"#,
            r#""digest":"md5","hmac":true,"salt_position":"prefix""#,
            r#""digest":"md5","hmac":true,"pepper":"P","pepper_position":"prefix""#,
            r#""digest":"md4""#,
            r#""digest":"MD5""#,
            r#""rounds":2"#,
            r#""digest":"md5","iterations":2"#,
        ];
        for parameters in refused {
            let json = format!(r#"{{"scheme":"digest",{parameters}}}"#);
            assert!(HashProfile::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}

mod profiles {
    use super::*;

    fn canonical(json: &str) -> String {
        String::from_utf8(profile(json).canonical_bytes().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn one_meaning_has_one_spelling() {
        let spellings = [
            r#"{"scheme":"digest","digest":"md5","pepper":"P","pre_transform":"trim"}"#,
            r#"{"pre_transform":["trim"],"rounds":1,"digest":"md5","pepper":"P",
                "scheme":"digest"}"#,
            r#"{"scheme":"digest","digest":"md5","pepper":"P","pepper_position":"prefix",
                "pre_transform":["trim"],"password_encoding":"utf8","hmac":false,"chain":"raw",
                "encoding":"hex","salt_position":"none","salt_encoding":"utf8"}"#,
        ];
        for spelling in spellings {
            // Pinned: a hash names its profile by a digest of these bytes.
            assert_eq!(
                canonical(spelling),
                r#"{"digest":"md5","pepper":"P","pre_transform":["trim"],"scheme":"digest"}"#
            );
        }
        assert_eq!(
            canonical(r#"{"scheme":"magento1","pre_transform":"none"}"#),
            r#"{"scheme":"magento1"}"#
        );
        assert_eq!(
            canonical(r#"{"scheme":"magento1","pre_transform":["htmlspecialchars","none"]}"#),
            r#"{"pre_transform":["none","htmlspecialchars"],"scheme":"magento1"}"#
        );
    }

    #[test]
    fn canonical_bytes_read_back() {
        let all = profile(
            r#"{"scheme":"digest","digest":"sha512","encoding":"base64","salt_position":"suffix",
                "salt_encoding":"base64","rounds":7,"chain":"hex","pepper":"P",
                "pepper_position":"suffix","password_encoding":"utf16le",
                "pre_transform":["none","trim","htmlspecialchars","strip_tags","md5hex"]}"#,
        );
        assert_eq!(HashProfile::from_json(&all.canonical_bytes().unwrap()).unwrap(), all);
    }

    #[test]
    fn unknown_members_and_wrong_values_are_refused() {
        let refused = [
            "{}",
            "[]",
            r#"{"scheme":"rot13"}"#,
            r#"{"scheme":"magento1","papper":"P"}"#,
            r#"{"scheme":"magento1","rounds":3}"#,
            r#"{"scheme":"magento1","scheme2":"digest"}"#,
            r#"{"scheme":"bcrypt","pepper_position":"suffix"}"#,
            r#"{"scheme":"bcrypt","pre_transform":"reverse"}"#,
            r#"{"scheme":"bcrypt","pre_transform":["trim",["trim"]]}"#,
            r#"{"scheme":"bcrypt","pre_transform":["trim","trim","trim","trim","trim","trim","trim",
                "trim","trim"]}"#,
            r#"{"scheme":"bcrypt","password_encoding":"utf-8"}"#,
        ];
        for json in refused {
            assert!(HashProfile::from_json(json.as_bytes()).is_err(), "{json}");
        }
        let long = format!(r#"{{"scheme":"bcrypt","pepper":"{}"}}"#, "p".repeat(1025));
        assert!(HashProfile::from_json(long.as_bytes()).is_err());
    }

    #[test]
    fn nothing_shows_a_pepper() {
        let profile = profile(r#"{"scheme":"bcrypt","pepper":"hunter2"}"#);
        assert_eq!(format!("{profile:?}"), "HashProfile([redacted])");
        let wrong = HashProfile::from_json(br#"{"scheme":"bcrypt","pepper":424242}"#).unwrap_err();
        assert_eq!(wrong.to_string(), "pepper is a string");
    }
}

proptest! {
    #[test]
    fn no_hash_panics(hash in any::<String>(), salt in any::<Option<String>>()) {
        let profiles = [
            r#"{"scheme":"magento1"}"#,
            r#"{"scheme":"bcrypt","password_encoding":"latin1"}"#,
            r#"{"scheme":"digest","digest":"sha1","salt_position":"suffix","encoding":"base64"}"#,
        ];
        let _ = admit(&hash, salt.as_deref(), None);
        for json in profiles {
            if let Ok(admitted) = admit(&hash, salt.as_deref(), Some(&profile(json))) {
                matches(&admitted, &hash);
            }
        }
    }

    #[test]
    fn no_password_panics(password in any::<String>()) {
        let profile = profile(
            r#"{"scheme":"digest","digest":"md5","password_encoding":"utf16le",
                "pre_transform":["none","trim","htmlspecialchars","strip_tags"]}"#,
        );
        let hash = admit("9cc2ae8a1ba7a93da39b46fc1019c481", None, Some(&profile)).unwrap();
        prop_assert!(!matches(&hash, &password));
    }
}
