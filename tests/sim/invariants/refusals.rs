//! Every message that was not taken is counted, and what was wrong with it is listed.

use crate::ledger::{Checked, ensure};
use crate::life::Life;
use crate::net::SimNet;

/// Whatever a node took is acknowledged, but for what is still on its way to the disk.
pub(crate) fn check_acknowledged(life: &Life, net: &SimNet) -> Checked {
    let Some(replica) = &life.replica else { return Ok(()) };
    let (left, on_the_way) = (net.unacknowledged(life.own.name()), replica.unsettled());
    ensure!(left == on_the_way, "{}: {left} are not acknowledged, {on_the_way} wait", life.own);
    Ok(())
}

/// What came to a life is what it says of itself.
pub(crate) fn check_life(life: &Life) -> Checked {
    let Some(replica) = &life.replica else { return Ok(()) };
    let (view, came) = (replica.view(), life.came);
    let inbox = view.inbox;
    let bad = inbox.malformed + inbox.unknown_origins + inbox.foreign;
    let known = inbox.duplicates + inbox.gaps + inbox.echoes + inbox.futures + inbox.bodiless;
    let on_the_way = u64::try_from(replica.unsettled()).unwrap_or(u64::MAX);
    ensure!(inbox.forks == 0 && view.forked.is_empty(), "forked: {:?}", view.forked);
    ensure!(
        came.runs == inbox.applied + known + bad + on_the_way,
        "{}: {came:?} came, {on_the_way} are on their way, and it says {inbox:?}",
        life.own
    );
    ensure!(bad >= came.wrong, "{}: {} runs were wrong, {inbox:?}", life.own, came.wrong);
    let parked = view.parked.total;
    ensure!(
        parked == bad + came.unreadable,
        "{}: {parked} messages are parked, {bad} and {} should be",
        life.own,
        came.unreadable
    );
    let unknown = view.unknown_messages;
    ensure!(unknown == came.unknown, "{}: {unknown} of unknown kinds", life.own);
    Ok(())
}
