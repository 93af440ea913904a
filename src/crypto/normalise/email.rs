//! E-mail addresses: trimmed, NFC, lower case, the domain in ASCII. Dots and +tags stay, since
//! what they mean is up to each mail provider.
//!
//! It must never know whether an address can receive mail.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// RFC 5321's bound on the part before the `@`, in bytes.
const MAX_LOCAL_BYTES: usize = 64;
/// RFC 5321's bound on an address (a path of 256 with its brackets), in bytes.
const MAX_ADDRESS_BYTES: usize = 254;
/// Beyond this nothing is looked at: normalising shrinks a text by a factor of three at most.
const MAX_INPUT_BYTES: usize = 4 * MAX_ADDRESS_BYTES;

/// A text is not an e-mail address this system takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidEmail {
    /// More than 64 bytes before the `@`, or more than 254 in all.
    #[error("the e-mail address is too long")]
    TooLong,
    /// Not one `@` with something on both sides.
    #[error("an e-mail address has one @ with a name before and a domain after it")]
    Shape,
    /// White space, a control character or an invisible one.
    #[error("the e-mail address contains white space or an invisible character")]
    Character,
    /// The part after the `@` is no domain name.
    #[error("the e-mail address has no valid domain")]
    Domain,
}

/// The normal form of an e-mail address.
pub fn email(text: &str) -> Result<String, InvalidEmail> {
    let text = text.trim();
    if text.len() > MAX_INPUT_BYTES {
        return Err(InvalidEmail::TooLong);
    }
    if text.chars().any(is_unseen) {
        return Err(InvalidEmail::Character);
    }
    let (local, domain) = text.split_once('@').ok_or(InvalidEmail::Shape)?;
    if local.is_empty() || domain.is_empty() || domain.contains('@') {
        return Err(InvalidEmail::Shape);
    }
    let address = format!("{}@{}", lower(local), ascii_domain(domain)?);
    let local_bytes = address.find('@').unwrap_or_default();
    if local_bytes > MAX_LOCAL_BYTES || address.len() > MAX_ADDRESS_BYTES {
        return Err(InvalidEmail::TooLong);
    }
    Ok(address)
}

/// Lower case, then NFC again: lower-casing takes some letters apart (U+0130 into two).
fn lower(local: &str) -> String {
    let composed: String = local.nfc().collect();
    composed.to_lowercase().nfc().collect()
}

fn ascii_domain(domain: &str) -> Result<String, InvalidEmail> {
    Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Verify)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| InvalidEmail::Domain)
}

/// What a person cannot see and so cannot mean: two addresses must not differ by it.
fn is_unseen(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(
            character,
            '\u{ad}' // soft hyphen
                | '\u{200b}'..='\u{200f}' // zero width, direction
                | '\u{202a}'..='\u{202e}' // direction
                | '\u{2060}'..='\u{206f}' // joiners, direction, invisible operators
                | '\u{feff}' // byte order mark
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_address_agree() {
        let cases = [
            ("ada@example.com", "ada@example.com"),
            ("  Ada@Example.COM\n", "ada@example.com"),
            ("A.d.A+Shop@example.com", "a.d.a+shop@example.com"),
            ("JU\u{308}RGEN@b\u{fc}cher.example", "j\u{fc}rgen@xn--bcher-kva.example"),
            ("j\u{fc}rgen@XN--BCHER-KVA.example", "j\u{fc}rgen@xn--bcher-kva.example"),
            ("\u{130}@example.com", "i\u{307}@example.com"),
            ("o'hara@host", "o'hara@host"),
        ];
        for (text, normal) in cases {
            assert_eq!(email(text).as_deref(), Ok(normal), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        use InvalidEmail::{Character, Domain, Shape, TooLong};
        let cases = [
            ("", Shape),
            ("ada", Shape),
            ("@example.com", Shape),
            ("ada@", Shape),
            ("a@b@example.com", Shape),
            ("a da@example.com", Character),
            ("ada\u{200b}@example.com", Character),
            ("ada\0@example.com", Character),
            ("\u{feff}ada@example.com", Character),
            ("ada@exa mple.com", Character),
            ("ada@example..com", Domain),
            ("ada@.example.com", Domain),
            ("ada@example.com.", Domain),
            ("ada@exa/mple.com", Domain),
            ("ada@[127.0.0.1]", Domain),
            ("ada@xn--\u{fc}.com", Domain),
        ];
        for (text, error) in cases {
            assert_eq!(email(text), Err(error), "{text:?}");
        }
        let long = [
            format!("{}@example.com", "a".repeat(65)),
            format!("{}@{}com", "a".repeat(64), "label.".repeat(32)),
            "a".repeat(2_000_000),
        ];
        for text in long {
            let refused = email(&text).unwrap_err();
            assert!(matches!(refused, TooLong | Domain), "{refused}");
        }
        assert!(email(&format!("{}@example.com", "a".repeat(64))).is_ok());
    }

    proptest! {
        #[test]
        fn it_is_idempotent(text in "\\PC{1,20}@[a-zA-Z\u{e4}-\u{fc}\u{4e00}-\u{4eff}.-]{1,20}") {
            if let Ok(normal) = email(&text) {
                prop_assert_eq!(email(&normal), Ok(normal.clone()));
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = email(&text);
        }
    }
}
