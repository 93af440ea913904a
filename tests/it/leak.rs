//! Finds clear text wherever it should not be, however it is written.

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use sha2::{Digest as _, Sha256};

/// Shorter patterns would be found by chance.
const PATTERN_BYTES_MIN: usize = 8;

/// Something that must not be found, and whether its bare SHA-256 must not either. Of an API key
/// that is what is kept of it, and as good as random.
pub struct Secret {
    /// What it is.
    pub name: String,
    /// It.
    pub text: String,
    /// Whether its digest counts as a leak.
    pub digest: bool,
}

/// A way of writing a text.
type Form = (&'static str, Vec<u8>);

/// All ways of writing a text that are looked for.
pub fn forms(secret: &Secret) -> Vec<Form> {
    let mut forms = Vec::new();
    for (case, text) in [
        ("raw", secret.text.clone()),
        ("lower", secret.text.to_lowercase()),
        ("upper", secret.text.to_uppercase()),
    ] {
        let bytes = text.as_bytes();
        forms.push((case, bytes.to_vec()));
        forms.push(("hex", hex::encode(bytes).into_bytes()));
        forms.push(("HEX", hex::encode_upper(bytes).into_bytes()));
        base64(&mut forms, ["base64", "base64url"], bytes);
        forms.push(("percent", percent(&text, |byte| !byte.is_ascii_alphanumeric(), true)));
        forms.push(("percent, lower", percent(&text, |byte| !is_unreserved(byte), false)));
        forms.push(("percent, reserved only", percent(&text, |byte| !is_unreserved(byte), true)));
        forms.push(("percent, all", percent(&text, |_| true, true)));
        forms.push(("utf-16le", text.encode_utf16().flat_map(u16::to_le_bytes).collect()));
        forms.push(("utf-16be", text.encode_utf16().flat_map(u16::to_be_bytes).collect()));
        let escaped = text.encode_utf16().map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
            _ => format!("\\u{unit:04x}"),
        });
        forms.push(("json escapes", escaped.collect::<String>().into_bytes()));
        if secret.digest {
            let digest = Sha256::digest(bytes);
            forms.push(("sha-256", digest.to_vec()));
            forms.push(("sha-256, hex", hex::encode(digest).into_bytes()));
            forms.push(("sha-256, HEX", hex::encode_upper(digest).into_bytes()));
            base64(&mut forms, ["sha-256, base64", "sha-256, base64url"], &digest);
        }
    }
    forms.retain(|(_, bytes)| bytes.len() >= PATTERN_BYTES_MIN);
    forms.sort_by(|one, other| one.1.cmp(&other.1));
    forms.dedup_by(|one, other| one.1 == other.1);
    forms
}

/// Base64 of bytes that stand anywhere in what is encoded: at each of three shifts, without the
/// letters at both ends that also depend on what is beside them.
fn base64(forms: &mut Vec<Form>, names: [&'static str; 2], bytes: &[u8]) {
    for shift in 0..3 {
        let shifted = [&vec![0; shift][..], bytes].concat();
        let letters = |text: String| {
            let whole = shifted.len() * 8 / 6;
            text.as_bytes()[(shift * 8).div_ceil(6)..whole].to_vec()
        };
        forms.push((names[0], letters(STANDARD.encode(&shifted))));
        forms.push((names[1], letters(URL_SAFE.encode(&shifted))));
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn percent(text: &str, escapes: impl Fn(u8) -> bool, upper: bool) -> Vec<u8> {
    let letters = text.bytes().map(|byte| match (escapes(byte), upper) {
        (false, _) => char::from(byte).to_string(),
        (true, true) => format!("%{byte:02X}"),
        (true, false) => format!("%{byte:02x}"),
    });
    letters.collect::<String>().into_bytes()
}

/// Looks for all secrets in all forms at once.
pub struct Scanner {
    patterns: Vec<String>,
    automaton: AhoCorasick,
}

impl Scanner {
    /// A scanner for these secrets.
    pub fn new(secrets: &[Secret]) -> Self {
        let (mut patterns, mut bytes) = (Vec::new(), Vec::new());
        for secret in secrets {
            for (form, pattern) in forms(secret) {
                patterns.push(format!("{} ({form})", secret.name));
                bytes.push(pattern);
            }
        }
        Self { patterns, automaton: AhoCorasick::new(bytes).unwrap() }
    }

    /// What is found in some bytes, by name and form, with where it begins.
    pub fn find(&self, bytes: &[u8]) -> Vec<String> {
        let found = self.automaton.find_overlapping_iter(bytes);
        found.map(|at| format!("{} at {}", self.patterns[at.pattern()], at.start())).collect()
    }
}
