//! Tests of `phone`: numbers of many countries, and what is no number.

use proptest::prelude::*;

use super::*;

fn plain(text: &str, country: Option<&str>) -> Result<String, InvalidPhone> {
    phone(text, country, &[])
}

#[test]
fn national_numbers_are_read_in_their_country() {
    let cases = [
        ("NG", "0803 123 4567", "+2348031234567"),
        ("KE", "0712-345678", "+254712345678"),
        ("DE", "(01511) 2345678", "+4915112345678"),
        ("GB", "020 7946 0958", "+442079460958"),
        ("US", "(212) 555-1234", "+12125551234"),
        ("US", "1 212 555 1234", "+12125551234"),
        ("CA", "1 416 555 1234", "+14165551234"),
        ("IT", "02 3661 8300", "+390236618300"),
        ("RU", "8 (800) 555-35-35", "+78005553535"),
        ("RU", "800 555 35 35", "+78005553535"),
        ("KZ", "8 701 234 5678", "+77012345678"),
        ("HU", "06 1 234 5678", "+3612345678"),
        ("LT", "8 612 34567", "+37061234567"),
        ("BY", "8 029 123 45 67", "+375291234567"),
        ("BR", "0 15 11 91234-5678", "+5511912345678"),
        ("AR", "011 15 2345-6789", "+5491123456789"),
        ("CI", "01 02 03 04 05", "+2250102030405"),
        ("SM", "0549 886377", "+3780549886377"),
        ("JP", "090-1234-5678", "+819012345678"),
        ("AU", "0412 345 678", "+61412345678"),
        ("FR", "33612345678", "+33612345678"),
        ("DE", "00 44 20 7946 0958", "+442079460958"),
        ("US", "011 44 20 7946 0958", "+442079460958"),
        (
            "EG",
            "\u{660}\u{661}\u{660}\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}\u{667}\u{668}",
            "+201012345678",
        ),
        ("JP", "\u{ff10}\u{ff19}\u{ff10}12345678", "+819012345678"),
    ];
    for (country, text, e164) in cases {
        assert_eq!(plain(text, Some(country)).as_deref(), Ok(e164), "{country} {text}");
    }
}

#[test]
fn international_numbers_need_no_country() {
    let cases = [
        ("+234 803 123 4567", "+2348031234567"),
        ("+44 (0)20 7946 0958", "+442079460958"),
        ("+7 800 555-35-35", "+78005553535"),
        ("+39 02 3661 8300", "+390236618300"),
        ("+800 1234 5678", "+80012345678"),
        ("\u{ff0b}49 1511 2345678", "+4915112345678"),
        ("+54 9 11 2345 6789", "+5491123456789"),
    ];
    for (text, e164) in cases {
        assert_eq!(plain(text, None).as_deref(), Ok(e164), "{text}");
        assert_eq!(plain(text, Some("NG")).as_deref(), Ok(e164), "{text}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    use InvalidPhone::{
        CountryRequired, Impossible, Malformed, UnknownCallingCode, UnknownCountry,
    };
    let long = "1".repeat(1_000_000);
    let cases = [
        ("", None, Malformed),
        ("+", None, Malformed),
        ("++49 1511 2345678", None, Malformed),
        ("+49 1511 2345678 ext 5", None, Malformed),
        ("+49 1511 2345678x5", None, Malformed),
        ("+49 1511 2345678;ext=5", None, Malformed),
        ("1-800-FLOWERS", Some("US"), Malformed),
        ("tel:+4915112345678", None, Malformed),
        (long.as_str(), Some("US"), Malformed),
        ("0803 123 4567", None, CountryRequired),
        ("0803 123 4567", Some("ZZ"), UnknownCountry),
        ("0803 123 4567", Some("ng"), UnknownCountry),
        ("0803 123 4567", Some(""), UnknownCountry),
        ("+999 123 4567", None, UnknownCallingCode),
        ("+0", None, UnknownCallingCode),
        ("+1", None, Impossible),
        ("+1 253 0000", None, Impossible),
        ("+49 1", None, Impossible),
        ("+44 20 7946 0958 1234", None, Impossible),
    ];
    for (text, country, error) in cases {
        let short: String = text.chars().take(40).collect();
        assert_eq!(plain(text, country), Err(error), "{short} {country:?}");
    }
}

#[test]
fn renumberings_come_first_and_once() {
    let table = [("22507", "2250707"), ("225", "22501"), ("229", "22901")]
        .map(|(old, new)| (old.to_owned(), new.to_owned()));
    let cases = [
        ("+225 07 12 34 56", "+2250707123456"),
        ("+225 07 07 12 34 56", "+2250707123456"),
        ("+225 44 12 34 56", "+2250144123456"),
        ("+229 97 12 34 56", "+2290197123456"),
        ("+229 01 97 12 34 56", "+2290197123456"),
        ("+234 803 123 4567", "+2348031234567"),
    ];
    for (text, e164) in cases {
        assert_eq!(phone(text, None, &table).as_deref(), Ok(e164), "{text}");
    }
}

fn any_country() -> impl Strategy<Value = String> {
    let mut countries: Vec<_> = DATABASE.iter().map(|country| country.id().to_owned()).collect();
    countries.sort();
    proptest::sample::select(countries)
}

/// Every country's own example numbers are read back, nationally and internationally.
#[test]
fn the_examples_of_every_country_are_possible() {
    for country in DATABASE.iter() {
        for kind in [Type::FixedLine, Type::Mobile] {
            let example = country.descriptors().get(kind).and_then(|kind| kind.example());
            let Some(example) = example else { continue };
            let expected = Ok(format!("+{}{example}", country.country_code()));
            let id = country.id();
            assert_eq!(plain(example, Some(id)), expected, "{id} {example}");
            let international = format!("+{}{example}", country.country_code());
            assert_eq!(plain(&international, None), expected, "{id} {international}");
            // In Colombia 03 together is a prefix, and nobody dials 0 before a mobile number.
            if let Some(prefix) = country.national_prefix().filter(|_| id != "CO") {
                let national = format!("{prefix}{example}");
                assert_eq!(plain(&national, Some(id)), expected, "{id} {national}");
            }
        }
    }
}

proptest! {
    #[test]
    fn it_is_idempotent(digits in "\\+?[0-9]{3,18}", country in any_country()) {
        if let Ok(e164) = plain(&digits, Some(&country)) {
            prop_assert_eq!(plain(&e164, None), Ok(e164.clone()));
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>(), country in any::<Option<String>>()) {
        let _ = plain(&text, country.as_deref());
    }
}
