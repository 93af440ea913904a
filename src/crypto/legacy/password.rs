//! What an old shop did to a password before it hashed it: transforms, character set, pepper.
//!
//! ```text
//! text -> pre_transform, in order -> password_encoding -> pepper before or after -> scheme
//! ```
//!
//! It must never know the scheme that comes after.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Before or after the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Position {
    #[default]
    Prefix,
    Suffix,
}

/// The character set a shop hashed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PasswordEncoding {
    #[default]
    Utf8,
    Latin1,
    Utf16le,
}

/// One step of what a shop did to a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Transform {
    /// Nothing. In a list: the untouched password is tried as well.
    None,
    /// PHP's `trim`.
    Trim,
    /// PHP's `htmlspecialchars`. Whether it wrote single quotes as `&#039;` (`ENT_QUOTES`) or left
    /// them (`ENT_COMPAT`, as `OpenCart` does) no company knows, so both are tried.
    #[serde(rename = "htmlspecialchars")]
    HtmlSpecialChars,
    /// PHP's `strip_tags`.
    StripTags,
    /// The password's MD5 in lower-case hex stands in for it.
    #[serde(rename = "md5hex")]
    Md5Hex,
}

/// What `htmlspecialchars` does with single quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Left,
    Escaped,
}

/// How to prepare a password for one hash.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) transforms: Vec<Transform>,
    pub(super) encoding: PasswordEncoding,
    pub(super) pepper: Zeroizing<Vec<u8>>,
    pub(super) position: Position,
}

impl Recipe {
    /// The same for a hash that the pepper was not meant for.
    pub(super) fn without_pepper(self) -> Self {
        Self { pepper: Zeroizing::default(), ..self }
    }

    /// How many forms of a password [`Recipe::prepare`] gives at most.
    pub(super) fn attempts(&self) -> u32 {
        1 + u32::from(self.also_untouched()) + u32::from(self.escapes())
    }

    /// The bytes to be hashed: one form, or more where a list of transforms names `none` or a
    /// transform has variants. A form that the character set cannot express is left out: nobody
    /// ever set that password.
    pub(super) fn prepare(&self, password: &str) -> Vec<Zeroizing<Vec<u8>>> {
        let untouched = self.also_untouched().then(|| self.bytes(password, &[], Quotes::Left));
        let unquoted = self.bytes(password, &self.transforms, Quotes::Left);
        let quoted =
            self.escapes().then(|| self.bytes(password, &self.transforms, Quotes::Escaped));
        // Where two are equal they are neighbours.
        let forms = [untouched.flatten(), unquoted, quoted.flatten()];
        let mut forms: Vec<_> = forms.into_iter().flatten().collect();
        forms.dedup();
        forms
    }

    fn escapes(&self) -> bool {
        self.transforms.contains(&Transform::HtmlSpecialChars)
    }

    fn also_untouched(&self) -> bool {
        self.transforms.contains(&Transform::None)
    }

    fn bytes(
        &self,
        password: &str,
        transforms: &[Transform],
        quotes: Quotes,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut text = Zeroizing::new(password.to_owned());
        let mut encoding = self.encoding;
        for transform in transforms {
            text = match transform {
                Transform::None => text,
                Transform::Trim => Zeroizing::new(trim(&text).to_owned()),
                Transform::HtmlSpecialChars => html_special_chars(&text, quotes),
                Transform::StripTags => strip_tags(&text),
                Transform::Md5Hex => {
                    let digest = Md5::digest(encode(&text, encoding)?.as_slice());
                    // The character set was the password's; its digest is ASCII.
                    encoding = PasswordEncoding::Utf8;
                    Zeroizing::new(hex::encode(digest))
                }
            };
        }
        let bytes = encode(&text, encoding)?;
        Some(Zeroizing::new(match self.position {
            Position::Prefix => [self.pepper.as_slice(), bytes.as_slice()].concat(),
            Position::Suffix => [bytes.as_slice(), self.pepper.as_slice()].concat(),
        }))
    }
}

fn encode(text: &str, encoding: PasswordEncoding) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = match encoding {
        PasswordEncoding::Utf8 => text.as_bytes().to_vec(),
        PasswordEncoding::Latin1 => {
            text.chars().map(|letter| u8::try_from(letter).ok()).collect::<Option<_>>()?
        }
        PasswordEncoding::Utf16le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    };
    Some(Zeroizing::new(bytes))
}

/// Only the characters PHP takes for white space; not Unicode's.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\0', '\x0b'])
}

fn html_special_chars(text: &str, quotes: Quotes) -> Zeroizing<String> {
    let mut escaped = Zeroizing::new(String::with_capacity(text.len() * 6));
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' if quotes == Quotes::Escaped => escaped.push_str("&#039;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// PHP's `strip_tags` for what a password can be: a tag starts with `<` before anything but white
/// space, ends with the `>` that belongs to it outside quotes, and one that never ends goes on to
/// the end. NUL goes, too. PHP's rules for comments and `<?php` are not followed.
fn strip_tags(text: &str) -> Zeroizing<String> {
    let mut stripped = Zeroizing::new(String::with_capacity(text.len()));
    // How many tags are open, one in the other, and the quote that is open in them.
    let mut depth = 0_usize;
    let mut quote = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let opens = letter == '<'
            && quote.is_none()
            && !letters.peek().is_some_and(|next| next.is_ascii_whitespace() || *next == '\x0b');
        match letter {
            '\0' => {}
            _ if opens => depth += 1,
            _ if depth == 0 => stripped.push(letter),
            '>' if depth > 1 || quote.is_none() => depth -= 1,
            '"' | '\'' if quote.is_none() => quote = Some(letter),
            _ if quote == Some(letter) => quote = None,
            _ => {}
        }
    }
    stripped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(transforms: &[Transform]) -> Recipe {
        Recipe { transforms: transforms.to_vec(), ..Recipe::default() }
    }

    fn prepared(recipe: &Recipe, password: &str) -> Vec<Vec<u8>> {
        recipe.prepare(password).iter().map(|form| form.to_vec()).collect()
    }

    fn only(recipe: &Recipe, password: &str) -> String {
        let forms = prepared(recipe, password);
        assert_eq!(forms.len(), 1);
        String::from_utf8(forms[0].clone()).unwrap()
    }

    #[test]
    fn transforms_are_phps() {
        use Transform::{HtmlSpecialChars, Md5Hex, StripTags, Trim};
        assert_eq!(only(&recipe(&[]), " p "), " p ");
        assert_eq!(only(&recipe(&[Trim]), " \t\0p\u{a0}\n"), "p\u{a0}");
        let escaped = only(&recipe(&[HtmlSpecialChars]), "a&b<c>\"d");
        assert_eq!(escaped, "a&amp;b&lt;c&gt;&quot;d");
        let stripped = [
            ("a<b>c", "ac"),
            ("a < b", "a < b"),
            ("a>b", "a>b"),
            ("a<b", "a"),
            ("a<b<c>d>e", "ae"),
            ("x<i a=\">\">y", "xy"),
            ("a\0b", "ab"),
        ];
        for (password, rest) in stripped {
            assert_eq!(only(&recipe(&[StripTags]), password), rest, "{password}");
        }
        assert_eq!(only(&recipe(&[Md5Hex]), "p"), "83878c91171338902e0fe0fb97a8c47a");
        assert_eq!(only(&recipe(&[Trim, Md5Hex]), " p"), "83878c91171338902e0fe0fb97a8c47a");
    }

    #[test]
    fn none_in_a_list_tries_both() {
        let both = recipe(&[Transform::None, Transform::HtmlSpecialChars]);
        assert_eq!(prepared(&both, "a&b"), [b"a&b".to_vec(), b"a&amp;b".to_vec()]);
        assert_eq!(prepared(&both, "ab"), [b"ab"]);
        assert_eq!(prepared(&both, "a'b"), [b"a'b".to_vec(), b"a&#039;b".to_vec()]);
        assert_eq!(prepared(&both, "'&").len(), 3);
        assert_eq!(both.attempts(), 3);
        let escaped = recipe(&[Transform::HtmlSpecialChars]);
        assert_eq!(prepared(&escaped, "'&"), [b"'&amp;".to_vec(), b"&#039;&amp;".to_vec()]);
        assert_eq!(escaped.attempts(), 2);
    }

    #[test]
    fn character_sets() {
        let with = |encoding| Recipe { encoding, ..Recipe::default() };
        assert_eq!(prepared(&with(PasswordEncoding::Latin1), "\u{e9}"), [[0xe9]]);
        assert!(prepared(&with(PasswordEncoding::Latin1), "\u{20ac}").is_empty());
        assert_eq!(prepared(&with(PasswordEncoding::Utf16le), "a\u{20ac}"), [b"a\0\xac\x20"]);
    }

    #[test]
    fn pepper_goes_where_the_profile_says() {
        let with =
            |position| Recipe { pepper: b"PEP".to_vec().into(), position, ..Recipe::default() };
        assert_eq!(only(&with(Position::Prefix), "p"), "PEPp");
        assert_eq!(only(&with(Position::Suffix), "p"), "pPEP");
        assert_eq!(only(&with(Position::Suffix).without_pepper(), "p"), "p");
    }
}
