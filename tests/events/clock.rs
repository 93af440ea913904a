//! The hybrid clock: it never goes back, whatever the wall clock does and whatever is observed.

use jcas::events::stamp::{EffectiveTime, HybridClock, Origin, Revision};
use proptest::prelude::*;

use crate::generator::origins;
use crate::harness::holds;

/// What happens to a clock.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Tick(u64),
    Observe(u64),
    Restart,
}

/// Wall clocks of this world: 48 bits of milliseconds last until the year 10889.
const WALL_MS_MAX: u64 = 1 << 47;

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    // Close together, so that the counter and the wall clock take turns; and far apart.
    let near = 1_000_000..1_000_003_u64;
    let one = prop_oneof![
        6 => near.clone().prop_map(Happening::Tick),
        2 => (0..WALL_MS_MAX).prop_map(Happening::Tick),
        2 => (near.clone(), 0..=0xffff_u64).prop_map(|(ms, n)| Happening::Observe((ms << 16) | n)),
        2 => near.prop_map(|ms| Happening::Observe((ms << 16) | 0xffff)),
        1 => Just(Happening::Restart),
    ];
    prop::collection::vec(one, 1..60)
}

#[test]
fn each_reading_is_later_than_all_before_it_and_not_earlier_than_the_wall_clock() {
    holds(500, &happenings(), |happenings| {
        let mut clock = HybridClock::default();
        let mut greatest = Revision::ZERO;
        for happening in happenings {
            match happening {
                Happening::Tick(wall_ms) => {
                    let reading = clock.tick(wall_ms);
                    prop_assert!(reading > greatest);
                    prop_assert!(reading >= Revision::from_unix_ms(wall_ms));
                    prop_assert_eq!(reading, clock.last());
                    greatest = reading;
                }
                Happening::Observe(bits) => {
                    clock.observe(Revision::from_bits(bits));
                    greatest = greatest.max(Revision::from_bits(bits));
                }
                Happening::Restart => clock = HybridClock::starting_after(clock.last()),
            }
            prop_assert_eq!(clock.last(), greatest);
        }
        Ok(())
    });
}

#[test]
fn a_reading_is_the_wall_clock_or_the_next_one_after_the_greatest() {
    holds(500, &(any::<u64>(), 0..WALL_MS_MAX), |(last, wall_ms)| {
        let last = Revision::from_bits(last >> 1);
        let reading = HybridClock::starting_after(last).tick(wall_ms);
        let next = Revision::from_bits(last.to_bits() + 1);
        prop_assert_eq!(reading, next.max(Revision::from_unix_ms(wall_ms)));
        Ok(())
    });
}

#[test]
fn a_frozen_wall_clock_makes_the_counter_run_into_the_next_millisecond() {
    let mut clock = HybridClock::default();
    let first = clock.tick(7);
    let mut last = first;
    for _ in 0..0x1_0000 {
        let reading = clock.tick(7);
        assert_eq!(reading.to_bits(), last.to_bits() + 1);
        last = reading;
    }
    assert_eq!((first.unix_ms(), last.unix_ms()), (7, 8));
}

#[test]
fn two_clocks_that_hear_each_other_order_what_follows() {
    holds(300, &(0..WALL_MS_MAX, 0..WALL_MS_MAX), |(here_ms, there_ms)| {
        let (mut here, mut there) = (HybridClock::default(), HybridClock::default());
        let cause = here.tick(here_ms);
        there.observe(cause);
        prop_assert!(there.tick(there_ms) > cause);
        Ok(())
    });
}

#[test]
fn at_its_end_the_clock_stays_rather_than_goes_back() {
    let mut clock = HybridClock::starting_after(Revision::from_bits(u64::MAX));
    assert_eq!(clock.tick(1).to_bits(), u64::MAX);
}

#[test]
fn a_claimed_time_is_a_change_not_later_than_receipt_and_keeps_the_order_of_the_claims() {
    holds(500, &(any::<u64>(), any::<u64>(), any::<u64>()), |(one, other, receipt)| {
        let receipt = Revision::from_bits(receipt);
        let claimed = |ms| EffectiveTime::claimed(ms, receipt);
        prop_assert!(claimed(one).is_change());
        prop_assert!(claimed(one).to_bits() <= receipt.to_bits().max(1));
        prop_assert!(one > other || claimed(one) <= claimed(other));
        if one < receipt.unix_ms() {
            prop_assert_eq!(claimed(one).unix_ms(), one);
        }
        Ok(())
    });
}

#[test]
fn origins_and_revisions_are_read_as_they_were_printed() {
    holds(300, &(origins(), any::<u64>()), |(origin, bits)| {
        prop_assert_eq!(origin.to_string().parse::<Origin>(), Ok(origin));
        let revision = Revision::from_bits(bits);
        prop_assert_eq!(revision.to_string().parse(), Ok(revision));
        Ok(())
    });
}

#[test]
fn an_origin_is_read_from_the_one_text_it_prints_only() {
    let right = "eu/n1#7.00c0ffee";
    assert_eq!(right.parse::<Origin>().unwrap().to_string(), right);
    for wrong in [
        "",
        "eu",
        "eu/n1",
        "eu/n1#7",
        "eu/n1#+7.00c0ffee",
        "eu/n1#07.00c0ffee",
        "eu/n1#7.c0ffee",
        "eu/n1#7.+0c0ffee",
        "eu/n1#7.00C0FFEE",
        "eu/n1#7.000c0ffee",
        "EU/n1#7.00c0ffee",
        "eu/n/1#7.00c0ffee",
        "eu/n1#4294967296.00c0ffee",
    ] {
        assert!(wrong.parse::<Origin>().is_err(), "{wrong:?} was taken");
    }
}
