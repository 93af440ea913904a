//! How old formats write bytes and numbers: base 64 in its dialects, and decimals.
//!
//! Reading is total and allocates no more than the text is long.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Base 64 as shops write it: padded or not.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads base 64 in the standard alphabet, padded or not.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Reads base 64 with `-` and `_`, as URLs want it, or in the standard alphabet.
pub(super) fn base64_of_either(text: &str) -> Option<Vec<u8>> {
    base64(&text.replace('-', "+").replace('_', "/"))
}

/// Reads passlib's base 64, which writes `.` for `+` and no padding.
pub(super) fn adapted_base64(text: &str) -> Option<Vec<u8>> {
    base64(&text.replace('.', "+"))
}

/// Writes bytes as `crypt(3)` does: groups of three bytes, the least significant six bits first.
pub(super) fn crypt64(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len().div_ceil(3) * 4));
    for group in bytes.chunks(3) {
        let mut bits = group.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        for _ in 0..=group.len() {
            text.push(crypt64_letter(bits));
            bits >>= 6;
        }
    }
    text
}

/// Reads what [`crypt64`] writes.
pub(super) fn from_crypt64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for letter in group.iter().rev() {
            bits = bits << 6 | crypt64_value(*letter)?;
        }
        let length = group.len().checked_sub(1).filter(|length| *length > 0)?;
        let [first, second, third, _] = bits.to_le_bytes();
        bytes.extend([first, second, third].iter().take(length));
        // What is left over of the last letter must be nothing.
        if bits >> (8 * length) != 0 {
            return None;
        }
    }
    Some(bytes)
}

/// What a letter of crypt's alphabet `./0-9A-Za-z` stands for.
pub(super) fn crypt64_value(letter: u8) -> Option<u32> {
    let value = match letter {
        b'.' | b'/' => letter - b'.',
        b'0'..=b'9' => letter - b'0' + 2,
        b'A'..=b'Z' => letter - b'A' + 12,
        b'a'..=b'z' => letter - b'a' + 38,
        _ => return None,
    };
    Some(value.into())
}

/// The letter for the low six bits.
fn crypt64_letter(bits: u32) -> u8 {
    let [value, ..] = (bits & 63).to_le_bytes();
    match value {
        0..=1 => b'.' + value,
        2..=11 => b'0' + value - 2,
        12..=37 => b'A' + value - 12,
        _ => b'a' + value - 38,
    }
}

/// Whether a text is of crypt's alphabet and this long.
pub(super) fn is_crypt64(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|letter| crypt64_value(letter).is_some())
}

/// A decimal number of digits alone; one that is too great for the type is the greatest.
pub(super) fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|letter| letter.is_ascii_digit()) {
        return None;
    }
    let digits = text.bytes().map(|letter| u64::from(letter - b'0'));
    Some(digits.fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(digit)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_digits_alone_and_saturate() {
        assert_eq!(decimal("0010"), Some(10));
        assert_eq!(decimal("99999999999999999999999"), Some(u64::MAX));
        for text in ["", "+1", "-1", " 1", "1 ", "1e3", "\u{661}"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn dialects_of_base64() {
        assert_eq!(base64("+/8="), Some(vec![0xfb, 0xff]));
        assert_eq!(base64("+/8"), Some(vec![0xfb, 0xff]));
        assert_eq!(base64_of_either("-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(adapted_base64("./8"), Some(vec![0xfb, 0xff]));
        assert_eq!(base64("\u{e9}"), None);
    }

    #[test]
    fn crypt64_refuses_what_it_does_not_write() {
        for text in ["a", "aaaaa", "z~", "/////z", "zz z"] {
            assert_eq!(from_crypt64(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn crypt64_reads_what_it_writes(bytes in any::<Vec<u8>>()) {
            let text = String::from_utf8(crypt64(&bytes).to_vec()).unwrap();
            prop_assert!(is_crypt64(&text, text.len()));
            prop_assert_eq!(from_crypt64(&text), Some(bytes));
        }
    }
}
