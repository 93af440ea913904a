//! Time and order: revisions, effective times, origins and the stamp that decides between rivals.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::{InvalidName, NodeId, NodeName, RegionId};

/// Bits of a revision that count events within a millisecond.
const COUNTER_BITS: u32 = 16;

/// A reading of the hybrid logical clock: 48 bits of Unix milliseconds, 16 bits of counter.
///
/// It is one number on purpose: a full counter carries into the milliseconds by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Before everything.
    pub const ZERO: Self = Self(0);

    /// The first reading of a millisecond.
    pub const fn from_unix_ms(unix_ms: u64) -> Self {
        Self(unix_ms << COUNTER_BITS)
    }

    /// The reading with this number.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The reading as a number that sorts like it.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The milliseconds since 1970 this reading stands for.
    pub const fn unix_ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Revision {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sixteen = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = u64::from_str_radix(text, 16).ok().filter(|_| sixteen);
        bits.map(Self).ok_or(InvalidRevision)
    }
}

/// A text that is no revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a revision is 16 hexadecimal digits")]
pub struct InvalidRevision;

/// The hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014), as plain data.
///
/// It is given the time and never goes back, so a wall clock that is set back, frozen or jumping
/// only makes the counter run.
#[derive(Debug, Clone, Copy, Default)]
pub struct HybridClock {
    last: Revision,
}

impl HybridClock {
    /// A clock that has already given out `last`.
    pub const fn starting_after(last: Revision) -> Self {
        Self { last }
    }

    /// The next reading: later than every one before it, and not earlier than the wall clock.
    pub fn tick(&mut self, wall_unix_ms: u64) -> Revision {
        let after_last = Revision(self.last.0.saturating_add(1));
        self.last = after_last.max(Revision::from_unix_ms(wall_unix_ms));
        self.last
    }

    /// Takes notice of a reading made elsewhere.
    pub fn observe(&mut self, seen: Revision) {
        self.last = self.last.max(seen);
    }

    /// The last reading given out or seen.
    pub const fn last(&self) -> Revision {
        self.last
    }
}

/// When a change counts as made, on the revision's scale.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectiveTime(u64);

impl EffectiveTime {
    /// What a company gave without a time and what the system concluded by itself: it loses to
    /// every change that somebody made.
    pub const LOWEST: Self = Self(0);

    /// A change made by the call that carries it.
    pub const fn at(revision: Revision) -> Self {
        Self(revision.0)
    }

    /// A change a company made at `unix_ms` while cut off, received at `receipt`: never later than
    /// that, and never the lowest, which is kept for what has no time.
    pub fn claimed(unix_ms: u64, receipt: Revision) -> Self {
        let bits = unix_ms.saturating_mul(1 << COUNTER_BITS);
        Self(bits.clamp(1, receipt.0.max(1)))
    }

    /// Whether somebody made this change at a time, as opposed to an import or a conclusion.
    pub const fn is_change(self) -> bool {
        self.0 > Self::LOWEST.0
    }

    /// The milliseconds since 1970 this time stands for.
    pub const fn unix_ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The time as a number that sorts like it.
    pub const fn to_bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for EffectiveTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Which life of a node: a counter that rises with every start, and a random tag, so that a copy
/// or a restored node that counts the same is still another life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// One more than the life before.
    pub counter: u32,
    /// Drawn at the start.
    pub tag: u32,
}

/// The node life that first recorded an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The node's region.
    pub region: RegionId,
    /// The node within it.
    pub node: NodeId,
    /// The life of that node.
    pub incarnation: Incarnation,
}

impl Origin {
    /// The node whose life it is.
    pub const fn name(&self) -> NodeName {
        NodeName { region: self.region, node: self.node }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Incarnation { counter, tag } = self.incarnation;
        write!(f, "{}/{}#{counter}.{tag:08x}", self.region, self.node)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (region, rest) = text.split_once('/').ok_or(InvalidOrigin::Shape)?;
        let (node, life) = rest.split_once('#').ok_or(InvalidOrigin::Shape)?;
        let (counter, tag) = life.split_once('.').ok_or(InvalidOrigin::Shape)?;
        let counter = counter.parse().map_err(|_| InvalidOrigin::Shape)?;
        let tag = u32::from_str_radix(tag, 16).map_err(|_| InvalidOrigin::Shape)?;
        let incarnation = Incarnation { counter, tag };
        let origin = Self { region: region.parse()?, node: node.parse()?, incarnation };
        // One text each: a number parser also takes a sign, capitals and fewer digits.
        if origin.to_string() == text { Ok(origin) } else { Err(InvalidOrigin::Shape) }
    }
}

/// A text that is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigin {
    /// It is not written as one.
    #[error("an origin is written region/node#counter.tag")]
    Shape,
    /// Its region or node is no name.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// Where an event stands: its origin and its gap-free number there, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventRef {
    /// The life that recorded it.
    pub origin: Origin,
    /// Its number in that life.
    pub sequence: u64,
}

impl fmt::Debug for EventRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.sequence)
    }
}

/// The total order that decides between rival writes of one register: the greatest prevails.
///
/// The order of the fields is the rule: first when the change counts as made, then who recorded
/// it last, then where, then how many times it was re-hashed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// When the change counts as made.
    pub effective: EffectiveTime,
    /// When it was recorded.
    pub revision: Revision,
    /// Where it was recorded.
    pub origin: Origin,
    /// How many upgrades lie between it and the credential it came from.
    pub generation: u32,
}

impl Stamp {
    /// The stamp of an upgrade of what bears this stamp: just above it and below whatever is newer.
    #[must_use]
    pub const fn upgraded(self) -> Self {
        Self { generation: self.generation.saturating_add(1), ..self }
    }

    /// The greatest stamp that an upgrade of what bears this stamp can have.
    #[must_use]
    pub const fn with_upgrades(self) -> Self {
        Self { generation: u32::MAX, ..self }
    }

    /// Whether this is the other stamp, or that of an upgrade of what bears it.
    pub fn is_or_upgrades(self, other: Self) -> bool {
        self >= other && self.with_upgrades() == other.with_upgrades()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(node: &str) -> Origin {
        let incarnation = Incarnation { counter: 1, tag: 7 };
        Origin { region: "eu".parse().unwrap(), node: node.parse().unwrap(), incarnation }
    }

    fn stamp(effective: u64, revision: u64, node: &str, generation: u32) -> Stamp {
        Stamp {
            effective: EffectiveTime(effective),
            revision: Revision(revision),
            origin: origin(node),
            generation,
        }
    }

    #[test]
    fn the_clock_never_goes_back_when_the_wall_clock_does() {
        let mut clock = HybridClock::default();
        let first = clock.tick(9_000_000);
        let second = clock.tick(9_000_000 - 3_600_000);
        assert!(second > first);
        assert_eq!(second.unix_ms(), 9_000_000);
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let mut clock = HybridClock::starting_after(Revision((5 << 16) | 0xffff));
        assert_eq!(clock.tick(5).unix_ms(), 6);
    }

    #[test]
    fn what_was_seen_elsewhere_is_passed() {
        let mut clock = HybridClock::default();
        clock.observe(Revision::from_unix_ms(9));
        assert!(clock.tick(3) > Revision::from_unix_ms(9));
    }

    #[test]
    fn a_claimed_time_is_never_later_than_receipt_and_never_the_lowest() {
        let receipt = Revision::from_unix_ms(100);
        assert_eq!(EffectiveTime::claimed(900, receipt), EffectiveTime::at(receipt));
        assert_eq!(EffectiveTime::claimed(u64::MAX, receipt), EffectiveTime::at(receipt));
        assert!(EffectiveTime::claimed(0, receipt).is_change());
    }

    #[test]
    fn the_order_is_effective_then_revision_then_origin_then_generation() {
        assert!(stamp(2, 1, "a", 0) > stamp(1, 9, "z", 9));
        assert!(stamp(1, 2, "a", 0) > stamp(1, 1, "z", 9));
        assert!(stamp(1, 1, "b", 0) > stamp(1, 1, "a", 9));
        assert!(stamp(1, 1, "a", 1) > stamp(1, 1, "a", 0));
    }

    #[test]
    fn an_upgrade_prevails_over_what_it_verified_and_nothing_newer() {
        let verified = stamp(5, 5, "a", 0);
        assert!(verified.upgraded() > verified);
        assert!(verified.upgraded() < stamp(5, 6, "a", 0));
    }

    #[test]
    fn names_of_origins_and_revisions_parse_back() {
        let origin = origin("n1");
        assert_eq!(origin.to_string().parse::<Origin>().unwrap(), origin);
        let revision = Revision::from_unix_ms(1_700_000_000_000);
        assert_eq!(revision.to_string().parse::<Revision>().unwrap(), revision);
        assert!("+00000000000000f".parse::<Revision>().is_err());
    }
}
