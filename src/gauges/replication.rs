//! Gauges of replication.

use metrics::gauge;

use crate::actors::inbox::InboxCounts;
use crate::actors::reconciler::PeerView;
use crate::actors::replica::ReplicaView;

use super::float;

/// Shows a snapshot, taken at `now_ms`.
pub(super) fn look(view: &ReplicaView, now_ms: u64) {
    let flag = |is_so| if is_so { 1.0 } else { 0.0 };
    gauge!("jcas_replication_caught_up").set(flag(view.caught_up));
    gauge!("jcas_replication_clock_unsafe").set(flag(view.clock_unsafe));
    for way in &view.ways {
        let broker = way.broker.to_string();
        let of = |name: &'static str| gauge!(name, "broker" => broker.clone());
        of("jcas_replication_way_up").set(flag(way.is_up()));
        of("jcas_replication_way_sent").set(float(way.sent));
        of("jcas_replication_way_received").set(float(way.received));
        of("jcas_replication_way_connections").set(float(way.connections));
        if let Some(waiting) = way.waiting {
            of("jcas_replication_way_waiting").set(float(waiting));
        }
    }
    view.peers.iter().for_each(|peer| look_at_peer(peer, now_ms));
    gauge!("jcas_replication_published_runs").set(float(view.publisher.runs));
    gauge!("jcas_replication_published_events").set(float(view.publisher.events));
    gauge!("jcas_replication_publish_failures").set(float(view.publisher.failures));
    gauge!("jcas_replication_publishing").set(float(view.publisher.on_the_way));
    gauge!("jcas_replication_backlog_bytes").set(float(view.publisher.backlog_bytes));
    look_at_inbox(&view.inbox);
    gauge!("jcas_replication_fetches").set(float(view.reconciler.fetches));
    gauge!("jcas_replication_fetches_unanswered").set(float(view.reconciler.unanswered));
    gauge!("jcas_replication_hashes_compared").set(float(view.reconciler.compared));
    gauge!("jcas_replication_forked").set(float(view.forked.len()));
    gauge!("jcas_replication_held").set(float(view.held.len()));
    gauge!("jcas_replication_parked").set(float(view.parked.messages.len()));
}

fn look_at_peer(peer: &PeerView, now_ms: u64) {
    let name = peer.node.to_string();
    let of = |figure: &'static str| gauge!(figure, "peer" => name.clone());
    let seconds = |ms: u64| float(ms) / 1000.0;
    of("jcas_replication_peer_connected").set(if peer.connected { 1.0 } else { 0.0 });
    of("jcas_replication_peer_behind_events").set(float(peer.behind_events));
    of("jcas_replication_peer_behind_seconds").set(seconds(peer.behind_ms));
    of("jcas_replication_peer_ahead_events").set(float(peer.ahead_events));
    let ahead = seconds(peer.ahead_ms.unsigned_abs());
    let ahead = if peer.ahead_ms < 0 { -ahead } else { ahead };
    of("jcas_replication_peer_clock_ahead_seconds").set(ahead);
    let diverged = if peer.diverged_ms.is_some() { 1.0 } else { 0.0 };
    of("jcas_replication_peer_diverged").set(diverged);
    if let Some(agreed_ms) = peer.agreed_ms {
        let age = seconds(now_ms.saturating_sub(agreed_ms));
        of("jcas_replication_peer_agreed_seconds").set(age);
    }
}

fn look_at_inbox(counts: &InboxCounts) {
    for (verdict, count) in [
        ("applied", counts.applied),
        ("duplicate", counts.duplicates),
        ("gap", counts.gaps),
        ("echo", counts.echoes),
        ("bodiless", counts.bodiless),
        ("unknown_origin", counts.unknown_origins),
        ("future", counts.futures),
        ("fork", counts.forks),
        ("malformed", counts.malformed),
        ("foreign", counts.foreign),
    ] {
        gauge!("jcas_replication_runs", "verdict" => verdict).set(float(count));
    }
    gauge!("jcas_replication_received_events").set(float(counts.events));
}
