//! E-mail and phone: from what was typed to the one spelling, and from that to the blind index.

use zeroize::Zeroizing;

use crate::crypto::blind::IndexKey;
use crate::crypto::normalise::{self, InvalidPhone, Renumbering};
use crate::events::ids::{BlindIndex, Country, Digest, IdentityKind};

use super::error::{AccountError, FieldError};

/// An identity in clear, in its one spelling. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Identity {
    /// E-mail or phone.
    pub kind: IdentityKind,
    /// How it is found.
    pub index: BlindIndex,
    /// The normal form.
    pub value: Zeroizing<String>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({:?}, [redacted])", self.kind)
    }
}

/// What identities are read with.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The key of blind indexes.
    pub key: &'a IndexKey,
    /// Prefixes of phone numbers that countries changed.
    pub renumberings: &'a [Renumbering],
}

impl Reader<'_> {
    /// Reads an identity of a kind. National phone numbers are read in `country`.
    pub fn read(
        self,
        kind: IdentityKind,
        typed: &str,
        country: Option<Country>,
    ) -> Result<Identity, AccountError> {
        match kind {
            IdentityKind::Email => self.email(typed),
            IdentityKind::Phone => self.phone(typed, country),
        }
    }

    fn email(self, typed: &str) -> Result<Identity, AccountError> {
        match normalise::email(typed) {
            Ok(normal) => Ok(self.identity(IdentityKind::Email, normal)),
            Err(error) => Err(AccountError::field("email", "invalid_email", error)),
        }
    }

    fn phone(self, typed: &str, country: Option<Country>) -> Result<Identity, AccountError> {
        let country = country.as_ref().map(Country::as_str);
        match normalise::phone(typed, country, self.renumberings) {
            Ok(normal) => Ok(self.identity(IdentityKind::Phone, normal)),
            Err(InvalidPhone::CountryRequired) => Err(AccountError::PhoneCountryRequired),
            Err(error) => Err(AccountError::field("phone", "invalid_phone", error)),
        }
    }

    fn identity(self, kind: IdentityKind, normal: String) -> Identity {
        let mac = Digest(self.key.blind_index(kind.number(), &normal));
        let index = BlindIndex { kind, version: self.key.version(), mac };
        Identity { kind, index, value: Zeroizing::new(normal) }
    }

    /// Reads an e-mail address and a phone number, as far as given, and names everything wrong
    /// with either.
    pub fn read_both(
        self,
        email: Option<&str>,
        phone: Option<&str>,
        country: Option<Country>,
    ) -> Result<Vec<Identity>, AccountError> {
        let mut found = Vec::new();
        let mut wrong: Vec<FieldError> = Vec::new();
        let email = email.map(|typed| self.read(IdentityKind::Email, typed, country));
        let phone = phone.map(|typed| self.read(IdentityKind::Phone, typed, country));
        for read in [email, phone].into_iter().flatten() {
            match read {
                Ok(identity) => found.push(identity),
                Err(AccountError::InvalidFields(fields)) => wrong.extend(fields),
                Err(error) => return Err(error),
            }
        }
        if wrong.is_empty() { Ok(found) } else { Err(AccountError::InvalidFields(wrong)) }
    }
}
