//! Compact JWS: the two ways a company signs its calls, and the one way a region signs its answers.
//!
//! | file | holds |
//! |---|---|
//! | `provider` | what `jsonwebtoken` computes with: HMAC-SHA-256 and Ed25519, nothing else |
//! | `token_key` | verifies what a company signed; its algorithm is part of the key |
//! | `client_key` | signs as a company: the command line and tests |
//! | `answer_keys` | a region's keys for answers, and what it publishes of them |
//!
//! A key has one algorithm for ever, and a token's header has no say in it. So a token signed with
//! a public key taken for an HMAC secret, or not signed at all, verifies under no key.
//!
//! This room must never know what a claim means, or what time it is.

mod answer_keys;
mod client_key;
mod provider;
mod token_key;

pub use answer_keys::{AnswerKeys, PublicJwk};
pub use client_key::ClientKey;
pub use token_key::{NotAKey, TokenKey};

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-256 under a secret that both sides have.
    Hs256,
    /// Ed25519: the company keeps the private half.
    EdDsa,
}

impl Algorithm {
    /// The word in a token's header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
        }
    }

    const fn in_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

#[cfg(test)]
#[path = "jws_test.rs"]
mod tests;
