//! Nothing is let in that is further in the future than may be: neither a reading nor a claimed
//! time.

use jcas::events::record::Header;
use jcas::events::stamp::Origin;

use crate::clock::SimClock;
use crate::ledger::{Checked, ensure};
use crate::life::FUTURE_LIMIT_MS;

/// An event of another life was let in by a node with this clock.
pub(crate) fn check_admitted(header: &Header, own: Origin, clock: &SimClock) -> Checked {
    let latest_ms = header.revision.unix_ms().max(header.effective.unix_ms());
    let may = header.origin == own || latest_ms <= clock.latest_ms() + FUTURE_LIMIT_MS;
    ensure!(may, "{own} let in what is of the future: {header:?}");
    Ok(())
}
