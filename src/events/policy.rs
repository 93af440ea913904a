//! What a company may do: policies over users, scopes of keys, signing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose users a company may do something with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Nobody's.
    Off,
    /// Users it created that are not linked to others'.
    Own,
    /// Everybody's.
    All,
}

impl Reach {
    /// Whether it goes as far as a user that is the company's own, or one that is not.
    pub const fn covers(self, own: bool) -> bool {
        match self {
            Self::All => true,
            Self::Own => own,
            Self::Off => false,
        }
    }
}

impl FromStr for Reach {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "own" => Ok(Self::Own),
            "all" => Ok(Self::All),
            _ => Err(UnknownWord("a policy is off, own or all")),
        }
    }
}

/// A word that is none of those allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownWord(&'static str);

/// One thing a company may do with users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// See a user's profile and identities.
    Read,
    /// Set a password without the current one.
    Password,
    /// Write profile fields.
    Profile,
    /// Claim and release identities.
    Identity,
    /// Disable and enable.
    Status,
    /// Link and unlink.
    Link,
    /// Erase.
    Erase,
}

impl Policy {
    /// The word the contract uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Password => "password",
            Self::Profile => "profile",
            Self::Identity => "identity",
            Self::Status => "status",
            Self::Link => "link",
            Self::Erase => "erase",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A company's policies, one for each thing it may do with a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policies {
    /// See a user's profile and identities.
    pub read: Reach,
    /// Set a password without the current one.
    pub password: Reach,
    /// Write profile fields.
    pub profile: Reach,
    /// Claim and release identities.
    pub identity: Reach,
    /// Disable and enable.
    pub status: Reach,
    /// Link and unlink.
    pub link: Reach,
    /// Erase.
    pub erase: Reach,
    /// Whether its word that an identity is verified counts.
    pub verifies: bool,
}

impl Policies {
    /// What a company has that nobody gave anything: it reads all, changes its own, verifies
    /// nothing.
    pub const DEFAULT: Self = Self {
        read: Reach::All,
        password: Reach::Own,
        profile: Reach::Own,
        identity: Reach::Own,
        status: Reach::Own,
        link: Reach::Own,
        erase: Reach::Own,
        verifies: false,
    };

    /// The preset `trusted`: as between companies of one group.
    pub const TRUSTED: Self = Self {
        read: Reach::All,
        password: Reach::All,
        profile: Reach::All,
        identity: Reach::All,
        status: Reach::All,
        link: Reach::All,
        erase: Reach::All,
        verifies: true,
    };

    /// Whose users the company may do this with.
    pub const fn reach(&self, policy: Policy) -> Reach {
        match policy {
            Policy::Read => self.read,
            Policy::Password => self.password,
            Policy::Profile => self.profile,
            Policy::Identity => self.identity,
            Policy::Status => self.status,
            Policy::Link => self.link,
            Policy::Erase => self.erase,
        }
    }
}

/// One kind of call an API key may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Log people in.
    Login,
    /// Read users.
    Read,
    /// Write users.
    Write,
    /// Bulk sync.
    Sync,
    /// Link and unlink.
    Link,
    /// Erase.
    Erase,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] =
        [Self::Login, Self::Read, Self::Write, Self::Sync, Self::Link, Self::Erase];

    /// The word the contract uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Link => "link",
            Self::Erase => "erase",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or(UnknownWord("a scope is login, read, write, sync, link or erase"))
    }
}

/// The scopes of one API key, sorted and without doubles.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// These scopes.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    /// Whether the key may make this kind of call.
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

/// Whether a company's calls must be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signing {
    /// Every call carries a signed request.
    Required,
    /// The API key over a safe transport is enough.
    Optional,
}

impl FromStr for Signing {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            _ => Err(UnknownWord("signing is required or optional")),
        }
    }
}
