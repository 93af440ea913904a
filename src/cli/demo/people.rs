//! The sample customers, as their companies would export them: read from the files in `examples/`,
//! which are built in so that the program needs none of them to run.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::events::ids::Country;

const SAVANNA: &str = include_str!("../../../examples/magento1/customers.csv");
const SAVANNA_PROFILE: &str = include_str!("../../../examples/magento1/hash-profile.json");
const DELTA: &str = include_str!("../../../examples/laravel/users.json");
const ATLAS: &str = include_str!("../../../examples/salted-sha256/accounts.ndjson");
const ATLAS_PROFILE: &str = include_str!("../../../examples/salted-sha256/hash-profile.json");
const PASSWORDS: &str = include_str!("../../../examples/passwords.json");

/// A company and its customers.
pub(super) struct Sample {
    /// Its id.
    pub(super) id: &'static str,
    /// What its export is.
    pub(super) export: &'static str,
    /// Where it has customers.
    pub(super) countries: [&'static str; 2],
    /// How it computed its hashes; none where a hash says so itself.
    pub(super) hash_profile: Option<&'static str>,
    /// Its customers.
    pub(super) people: Vec<Person>,
}

/// A customer of a company.
pub(super) struct Person {
    /// Where.
    pub(super) country: Country,
    /// The address as the company has it.
    pub(super) email: Option<String>,
    /// The number as the company has it.
    pub(super) phone: Option<String>,
    /// Whether the company says it verified the address.
    pub(super) email_verified: bool,
    /// What else it knows.
    pub(super) profile: BTreeMap<String, Value>,
    /// The hash of the person's password.
    pub(super) hash: String,
    /// Its salt, where the company keeps that apart.
    pub(super) salt: Option<String>,
    /// How the hash was made, for people.
    pub(super) scheme: String,
    /// Whether the company closed the account.
    pub(super) closed: bool,
}

/// Somebody whose password is known, to log in with.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Known {
    /// The company.
    pub(super) company: String,
    /// Where.
    pub(super) country: Country,
    /// The address, as typed.
    pub(super) email: String,
    /// The password.
    pub(super) password: String,
}

/// All three companies.
pub(super) fn samples() -> anyhow::Result<Vec<Sample>> {
    Ok(vec![
        Sample {
            id: "savanna",
            export: "a Magento 1 shop, CSV",
            countries: ["NG", "KE"],
            hash_profile: Some(SAVANNA_PROFILE),
            people: savanna().context("examples/magento1/customers.csv is not as it should be")?,
        },
        Sample {
            id: "delta",
            export: "a Laravel shop, JSON",
            countries: ["NG", "EG"],
            hash_profile: None,
            people: delta().context("examples/laravel/users.json is not as it should be")?,
        },
        Sample {
            id: "atlas",
            export: "a home-grown system, JSON lines",
            countries: ["KE", "MA"],
            hash_profile: Some(ATLAS_PROFILE),
            people: atlas().context("examples/salted-sha256 is not as it should be")?,
        },
    ])
}

/// Those whose passwords are known.
pub(super) fn known() -> anyhow::Result<Vec<Known>> {
    serde_json::from_str(PASSWORDS).context("examples/passwords.json is not as it should be")
}

/// An address as two companies may write it, brought to one form: enough for the samples.
pub(super) fn plain(email: &str) -> String {
    email.trim().to_lowercase()
}

fn text(value: &str) -> Value {
    Value::from(value)
}

fn given(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn savanna() -> anyhow::Result<Vec<Person>> {
    let mut lines = SAVANNA.lines();
    let head = "entity_id,email,firstname,lastname,telephone,country,password_hash";
    ensure!(lines.next() == Some(head), "its first line is another one");
    lines.filter(|line| !line.is_empty()).map(magento_customer).collect()
}

fn magento_customer(line: &str) -> anyhow::Result<Person> {
    // No field holds a comma or a quotation mark (examples/README.md).
    let fields: Vec<&str> = line.split(',').collect();
    let Ok([_, email, first, last, phone, country, hash]) = <[&str; 7]>::try_from(fields) else {
        anyhow::bail!("a line has not seven fields")
    };
    let (digest, salt) = hash.split_once(':').unwrap_or((hash, ""));
    let name = if digest.len() == 32 { "md5" } else { "sha256" };
    let scheme = match salt.len() {
        0 => format!("Magento {name}, no salt"),
        length => format!("Magento {name}, salt of {length}"),
    };
    Ok(Person {
        country: country.parse()?,
        email: given(email),
        phone: given(phone),
        email_verified: false,
        profile: BTreeMap::from([
            ("given_name".to_owned(), text(first)),
            ("family_name".to_owned(), text(last)),
        ]),
        hash: hash.to_owned(),
        salt: None,
        scheme,
        closed: false,
    })
}

#[derive(Deserialize)]
struct LaravelUser {
    name: String,
    email: Option<String>,
    phone: Option<String>,
    country_code: Country,
    password: String,
    email_verified_at: Option<String>,
}

fn delta() -> anyhow::Result<Vec<Person>> {
    let users: Vec<LaravelUser> = serde_json::from_str(DELTA)?;
    Ok(users.into_iter().map(laravel_user).collect())
}

fn laravel_user(user: LaravelUser) -> Person {
    let cost = user.password.split('$').nth(2).unwrap_or("?").trim_start_matches('0').to_owned();
    Person {
        country: user.country_code,
        email: user.email,
        phone: user.phone,
        email_verified: user.email_verified_at.is_some(),
        profile: BTreeMap::from([("name".to_owned(), text(&user.name))]),
        hash: user.password,
        salt: None,
        scheme: format!("bcrypt $2y$, cost {cost}"),
        closed: false,
    }
}

#[derive(Deserialize)]
struct AtlasAccount {
    first: String,
    last: String,
    mail: Option<String>,
    mobile: Option<String>,
    country: Country,
    salt: String,
    pw: String,
    active: bool,
}

fn atlas() -> anyhow::Result<Vec<Person>> {
    let lines = ATLAS.lines().filter(|line| !line.is_empty());
    lines.map(|line| Ok(atlas_account(serde_json::from_str(line)?))).collect()
}

fn atlas_account(account: AtlasAccount) -> Person {
    Person {
        country: account.country,
        email: account.mail,
        phone: account.mobile,
        email_verified: false,
        profile: BTreeMap::from([
            ("given_name".to_owned(), text(&account.first)),
            ("family_name".to_owned(), text(&account.last)),
        ]),
        hash: account.pw,
        salt: Some(account.salt),
        scheme: "sha256(salt + password)".to_owned(),
        closed: !account.active,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_read_and_every_known_password_is_of_one() {
        let samples = samples().unwrap();
        for sample in &samples {
            assert_eq!(sample.people.len(), 300, "{}", sample.id);
            for person in &sample.people {
                assert!(sample.countries.contains(&person.country.as_str()), "{}", sample.id);
                assert!(person.email.is_some() || person.phone.is_some(), "{}", sample.id);
            }
        }
        let known = known().unwrap();
        assert_eq!(known.len(), 12);
        for known in known {
            let of = samples.iter().find(|sample| sample.id == known.company).unwrap();
            let mut emails = of.people.iter().filter_map(|person| person.email.as_deref());
            assert!(emails.any(|email| email == known.email), "{}", known.email);
        }
    }
}
