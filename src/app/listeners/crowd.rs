//! How many connections there are: in all, and from one address, so that no single caller has them
//! all.
//!
//! An IPv6 caller has a whole network of addresses: there the first 64 bits count as one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of a listener.
pub(super) struct Crowd {
    max: usize,
    /// None: one address may have all, since everything comes from one, a proxy's.
    max_of_one: Option<usize>,
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection that is counted until it is dropped.
pub(super) struct Guest {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// There are as many as may be.
    Full,
    /// Its address has as many as one may have.
    TooManyOfOne,
}

impl Crowd {
    pub(super) fn new(max: usize, max_of_one: Option<usize>) -> Arc<Self> {
        Arc::new(Self { max, max_of_one, present: Mutex::default() })
    }

    /// Lets a connection in.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Guest, TurnedAway> {
        let address = network(address);
        let mut present = self.present();
        if present.all >= self.max {
            return Err(TurnedAway::Full);
        }
        let of_one = present.by_address.get(&address).copied().unwrap_or_default();
        if self.max_of_one.is_some_and(|max| of_one >= max) {
            return Err(TurnedAway::TooManyOfOne);
        }
        present.all += 1;
        present.by_address.insert(address, of_one + 1);
        metrics::gauge!("jcas_connections").increment(1.0);
        Ok(Guest { crowd: Arc::clone(self), address })
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut present = self.crowd.present();
        present.all = present.all.saturating_sub(1);
        metrics::gauge!("jcas_connections").decrement(1.0);
        if let Some(of_one) = present.by_address.get_mut(&self.address) {
            *of_one = of_one.saturating_sub(1);
            if *of_one == 0 {
                present.by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(std::net::Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_may_not_have_all_and_all_may_not_be_more_than_the_bound() {
        let crowd = Crowd::new(3, Some(2));
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let first = crowd.enter(one).unwrap();
        let _second = crowd.enter(one).unwrap();
        assert_eq!(crowd.enter(one).err(), Some(TurnedAway::TooManyOfOne));
        let _third = crowd.enter(other).unwrap();
        assert_eq!(crowd.enter(other).err(), Some(TurnedAway::Full));
        drop(first);
        let _again = crowd.enter(one).unwrap();
    }

    #[test]
    fn who_has_left_is_not_remembered() {
        let crowd = Crowd::new(3, Some(2));
        drop(crowd.enter(address("192.0.2.1")).unwrap());
        let present = crowd.present();
        assert_eq!((present.all, present.by_address.len()), (0, 0));
    }

    #[test]
    fn behind_a_proxy_one_address_may_have_all() {
        let crowd = Crowd::new(3, None);
        let _all: Vec<_> = (0..3).map(|_| crowd.enter(address("192.0.2.1")).unwrap()).collect();
        assert_eq!(crowd.enter(address("192.0.2.1")).err(), Some(TurnedAway::Full));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let crowd = Crowd::new(9, Some(1));
        let _one = crowd.enter(address("2001:db8::1")).unwrap();
        assert!(crowd.enter(address("2001:db8::ffff:1")).is_err());
        let _next = crowd.enter(address("2001:db8:0:1::1")).unwrap();
        let _four = crowd.enter(address("::ffff:192.0.2.1")).unwrap();
        assert!(crowd.enter(address("192.0.2.1")).is_err(), "the same address written otherwise");
    }
}
