//! Phone numbers: E.164, where libphonenumber would call them possible.
//!
//! The rules are libphonenumber's, and so is the data (the `phonenumber` crate's). Its parser is
//! not used: of a Russian `8 800...` it takes off the leading 8 twice, it knows no possible lengths
//! and it accepts words and extensions. Here everything but digits is gone before any rule looks.
//!
//! ```text
//! text -> digits -> country code + national number -> renumbered -> length possible? -> E.164
//! ```
//!
//! It must never know whether a number is in service.

use phonenumber::Type;
use phonenumber::metadata::{DATABASE, Metadata};
use thiserror::Error;

/// A longer text is not looked at, in bytes. E.164 has 15 digits.
const MAX_INPUT_BYTES: usize = 64;

/// The longest international number, in digits (E.164).
const MAX_DIGITS: usize = 15;

/// The kinds of numbers whose lengths make a number possible.
const DIALLED_KINDS: [Type; 10] = [
    Type::FixedLine,
    Type::Mobile,
    Type::TollFree,
    Type::PremiumRate,
    Type::SharedCost,
    Type::PersonalNumber,
    Type::Voip,
    Type::Pager,
    Type::Uan,
    Type::Voicemail,
];

/// An old and a new prefix of international numbers, in digits without `+`.
pub type Renumbering = (String, String);

/// A text is not a phone number this system takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidPhone {
    /// More than 64 bytes, words, an extension, or not a number at all.
    #[error("not a phone number")]
    Malformed,
    /// A national number, and no country to read it in (`phone_country_required`).
    #[error("a national phone number needs a country")]
    CountryRequired,
    /// No numbers are known for the country given.
    #[error("no phone numbers are known for this country")]
    UnknownCountry,
    /// An international number whose country calling code is not assigned.
    #[error("the phone number's country calling code is not assigned")]
    UnknownCallingCode,
    /// No number of its country has this length, or it can be dialled within a town only.
    #[error("the phone number's length is not possible in its country")]
    Impossible,
}

/// The E.164 form (`+` and up to 15 digits) of a phone number. A national one is read as dialled in
/// `country` (ISO 3166-1 alpha-2, upper case).
///
/// Of the `renumberings` the one with the longest fitting prefix is applied, unless the number is
/// not possible then: so a number that already is a new one stays, though it may begin like an
/// old one.
pub fn phone(
    text: &str,
    country: Option<&str>,
    renumberings: &[Renumbering],
) -> Result<String, InvalidPhone> {
    let number = read(&Dialled::read(text)?, country)?;
    let digits = renumbered(&number, renumberings)
        .filter(|digits| Number::split(digits).is_ok_and(|number| number.is_possible()));
    match digits {
        Some(digits) => Ok(format!("+{digits}")),
        None if number.is_possible() => Ok(format!("+{}", number.digits())),
        None => Err(InvalidPhone::Impossible),
    }
}

/// What was typed: ASCII digits, and whether a `+` stood before them.
struct Dialled {
    international: bool,
    digits: String,
}

impl Dialled {
    fn read(text: &str) -> Result<Self, InvalidPhone> {
        let text = text.trim();
        if text.len() > MAX_INPUT_BYTES {
            return Err(InvalidPhone::Malformed);
        }
        let rest = text.strip_prefix(['+', '\u{ff0b}']);
        let mut digits = String::new();
        for character in rest.unwrap_or(text).chars() {
            match digit(character) {
                Some(digit) => digits.push(digit),
                None if is_separator(character) => {}
                None => return Err(InvalidPhone::Malformed),
            }
        }
        if digits.is_empty() {
            return Err(InvalidPhone::Malformed);
        }
        Ok(Self { international: rest.is_some(), digits })
    }
}

/// The decimal digit, also as it is written in Arabic, Persian, Devanagari, Bengali, Thai, or wide.
fn digit(character: char) -> Option<char> {
    const ZEROS: [char; 7] =
        ['0', '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{e50}', '\u{ff10}'];
    ZEROS.iter().find_map(|&zero| {
        let value = u32::from(character).checked_sub(u32::from(zero))?;
        char::from_digit(value, 10)
    })
}

/// What people write between digits.
fn is_separator(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '-' | '.' | '/' | '(' | ')' | '[' | ']' | '~')
        || matches!(character, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ad}' | '\u{ff0d}')
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}')
}

/// An international number, with the data of the main country of its calling code.
struct Number {
    main: &'static Metadata,
    national: String,
}

impl Number {
    /// Takes off what people write although only national calls begin with it (`+44 (0)20...`).
    /// Only where that alone makes the number fit: so it happens once, and E.164 stays as it is.
    fn new(main: &'static Metadata, national: String) -> Self {
        let stripped = without_prefix(main, &national).filter(|stripped| fits(main, stripped));
        match stripped {
            Some(stripped) if !fits(main, &national) => Self { main, national: stripped },
            _ => Self { main, national },
        }
    }

    /// Splits an international number behind its calling code. No code is another's beginning.
    fn split(digits: &str) -> Result<Self, InvalidPhone> {
        (1..=3)
            .filter_map(|length| digits.split_at_checked(length))
            .find_map(|(code, national)| {
                let main = main_country(code.parse().ok()?)?;
                Some(Self::new(main, national.to_owned()))
            })
            .ok_or(InvalidPhone::UnknownCallingCode)
    }

    fn digits(&self) -> String {
        format!("{}{}", self.main.country_code(), self.national)
    }

    fn is_possible(&self) -> bool {
        self.digits().len() <= MAX_DIGITS && has_possible_length(self.main, &self.national)
    }
}

/// The country whose data decide for a calling code that several share.
fn main_country(code: u16) -> Option<&'static Metadata> {
    let sharing = DATABASE.by_code(&code)?;
    let main = sharing.iter().find(|country| country.is_main_country_for_code());
    main.or(sharing.first()).copied()
}

fn read(dialled: &Dialled, country: Option<&str>) -> Result<Number, InvalidPhone> {
    let digits = dialled.digits.as_str();
    if dialled.international {
        return Number::split(digits);
    }
    let country = country.ok_or(InvalidPhone::CountryRequired)?;
    let country = DATABASE.by_id(country).ok_or(InvalidPhone::UnknownCountry)?;
    if let Some(digits) = without_international_prefix(country, digits) {
        return Number::split(digits);
    }
    let national = without_own_code(country, digits)
        .unwrap_or_else(|| without_national_prefix(country, digits));
    let main = main_country(country.country_code()).unwrap_or(country);
    Ok(Number::new(main, national))
}

/// What follows the country's way of dialling abroad (`00`, `011`...), if the number begins so.
fn without_international_prefix<'a>(country: &Metadata, digits: &'a str) -> Option<&'a str> {
    let prefix = country.international_prefix()?.find(digits)?;
    if prefix.start() != 0 {
        return None;
    }
    // No calling code begins with 0: what looks like the prefix is part of a national number.
    digits.get(prefix.end()..).filter(|rest| !rest.is_empty() && !rest.starts_with('0'))
}

/// What follows the country's own calling code, where only that makes the number fit: people write
/// `33612345678` and mean `+33612345678`.
fn without_own_code(country: &Metadata, digits: &str) -> Option<String> {
    if fits(country, digits) {
        return None;
    }
    let rest = digits.strip_prefix(&country.country_code().to_string())?;
    let national = without_national_prefix(country, rest);
    fits(country, &national).then_some(national)
}

/// The number without what only calls within the country begin with. Not if that would spoil one
/// that fits, nor one of possible length.
fn without_national_prefix(country: &Metadata, digits: &str) -> String {
    let spoils = |stripped: &str| {
        fits(country, digits) && !fits(country, stripped)
            || has_possible_length(country, digits) && !has_possible_length(country, stripped)
    };
    without_prefix(country, digits)
        .filter(|stripped| !spoils(stripped))
        .unwrap_or_else(|| digits.to_owned())
}

/// What is left without a national prefix (`0`, a carrier's code), if the number begins with one.
fn without_prefix(country: &Metadata, digits: &str) -> Option<String> {
    let Some(pattern) = country.national_prefix_for_parsing() else {
        return country
            .national_prefix()
            .and_then(|prefix| digits.strip_prefix(prefix))
            .map(str::to_owned);
    };
    let groups = pattern.captures(digits)?;
    let prefix = groups.get(0).filter(|prefix| prefix.start() == 0)?;
    // Argentina's mobile numbers, for one, are not cut but rewritten: 0 11 15... is 9 11...
    let rewrites = groups.iter().skip(1).last().is_some_and(|last| last.is_some());
    match country.national_prefix_transform_rule() {
        Some(rule) if rewrites => Some(pattern.replace(digits, rule).into_owned()),
        _ => digits.get(prefix.end()..).map(str::to_owned),
    }
}

/// Whether the country's pattern for any number matches the whole of this one. The crate's own
/// `is_match` is content with a beginning that matches.
fn fits(country: &Metadata, national: &str) -> bool {
    let pattern = country.descriptors().general().national_number().as_str();
    let cache = DATABASE.cache();
    // The cache only saves compiling anew: after a panic elsewhere it is as good as before.
    let mut cache = cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // The patterns are written over several lines (`x`).
    let whole = cache.compile(&format!("(?x)^(?:{pattern})$"));
    has_possible_length(country, national) && whole.is_ok_and(|whole| whole.is_match(national))
}

/// libphonenumber's "possible". Lengths that can be dialled within a town only do not count: they
/// name different telephones in different towns.
fn has_possible_length(country: &Metadata, national: &str) -> bool {
    DIALLED_KINDS
        .into_iter()
        .filter_map(|kind| country.descriptors().get(kind))
        .flat_map(phonenumber::metadata::Descriptor::possible_length)
        .any(|&length| usize::from(length) == national.len())
}

/// The number's digits under the longest old prefix it begins with.
fn renumbered(number: &Number, renumberings: &[Renumbering]) -> Option<String> {
    let digits = number.digits();
    let (old, new) = renumberings
        .iter()
        .filter(|(old, _)| digits.starts_with(old.as_str()))
        .max_by_key(|(old, _)| old.len())?;
    Some(format!("{new}{}", digits.strip_prefix(old.as_str())?))
}

#[cfg(test)]
#[path = "phone_test.rs"]
mod tests;
