//! Phone numbers.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fault::Review;

/// Most entries of the table of renumberings.
pub const RENUMBERINGS_MAX: usize = 1000;

/// Longest prefix, in digits: an international number has no more.
pub const PREFIX_DIGITS_MAX: usize = 15;

/// Section `phone`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhoneConfig {
    /// What countries changed in their numbering plans, at most 1000 entries, each `from` once.
    pub renumberings: Vec<Renumbering>,
}

/// Numbers that begin with `from` are kept as beginning with `to`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renumbering {
    /// The old prefix: country calling code first, 1 to 15 digits and nothing else.
    pub from: String,
    /// The new prefix, of the same form; not the same digits.
    pub to: String,
}

impl PhoneConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        if self.renumberings.len() > RENUMBERINGS_MAX {
            review.refuse(
                "phone.renumberings",
                format!("found {} entries", self.renumberings.len()),
                format!("at most {RENUMBERINGS_MAX} entries"),
            );
        }
        let mut seen = BTreeMap::new();
        for (position, Renumbering { from, to }) in self.renumberings.iter().enumerate() {
            let path = |key: &str| format!("phone.renumberings.{position}.{key}");
            for (key, prefix) in [("from", from), ("to", to)] {
                if !is_prefix(prefix) {
                    let allowed = "1 to 15 digits, country calling code first, without +";
                    review.refuse(&path(key), format!("found {prefix:?}"), allowed);
                }
            }
            if from == to {
                review.refuse(&path("to"), "it is the same as from", "another prefix");
            }
            if let Some(first) = seen.insert(from, position) {
                let problem = format!("{from:?} is already that of entry {first}");
                review.refuse(&path("from"), problem, "each prefix once");
            }
        }
    }
}

fn is_prefix(text: &str) -> bool {
    (1..=PREFIX_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}
