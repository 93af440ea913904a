//! The one spelling of an identity: what the blind index is computed over.
//!
//! Two spellings of one address must give one text, for ever: a change here makes people
//! unfindable. So it does little, and what it does is idempotent. It decides no more than the
//! spelling: not whether an address exists, nor who owns it.

mod email;
mod phone;

pub use email::{InvalidEmail, email};
pub use phone::{InvalidPhone, Renumbering, phone};
