//! Two users: what a link is between.

use serde::{Deserialize, Serialize};

use super::ids::UserId;

/// Two users, the lesser id first: what a link is between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pair(UserId, UserId);

impl Pair {
    /// The pair of two different users, in either order.
    pub fn new(one: UserId, other: UserId) -> Option<Self> {
        match one.cmp(&other) {
            std::cmp::Ordering::Less => Some(Self(one, other)),
            std::cmp::Ordering::Greater => Some(Self(other, one)),
            std::cmp::Ordering::Equal => None,
        }
    }

    /// Both users, the lesser id first.
    pub const fn users(&self) -> (UserId, UserId) {
        (self.0, self.1)
    }

    /// The one that `user` is paired with.
    pub fn other(&self, user: UserId) -> Option<UserId> {
        match user {
            _ if user == self.0 => Some(self.1),
            _ if user == self.1 => Some(self.0),
            _ => None,
        }
    }
}
