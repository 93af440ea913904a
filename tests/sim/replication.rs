//! A node's replication, put together and driven as the actor does it.

use std::sync::{Arc, PoisonError};

use futures_util::FutureExt as _;
use jcas::actors::answers::Answers;
use jcas::actors::inbox::{InboxEngine, InboxParts};
use jcas::actors::parked::Parked;
use jcas::actors::publisher::PublisherEngine;
use jcas::actors::reconciler::{Pace, ReconcilerEngine};
use jcas::actors::replica_parts::EngineParts;
use jcas::actors::replicas::Replicas;
use jcas::actors::replicating::ReplicaEngine;
use jcas::actors::runs::RunReader;
use jcas::crypto::seals::{SealVerifier, Sealer};
use jcas::events::ids::RegionId;
use jcas::events::record::LogPosition;

use crate::ledger::Checked;
use crate::life::{Deployment, FUTURE_LIMIT_MS, Life};
use crate::mail::absorb;

/// Messages that a node publishes before one is confirmed.
const WINDOW: usize = 4;

impl Life {
    /// Starts replication, as a node does when its life is recorded.
    pub(crate) fn replicate(&mut self, deployment: &Deployment, cursor: LogPosition) -> Checked {
        let own = self.own;
        let sealer = deployment.sealers.get(&own.region).ok_or("a region without a key")?;
        let log = Arc::clone(&self.checkpoints.log);
        let runs = RunReader::new(log.reader(), sealer.clone(), own.region);
        let verifier = |(region, sealer): (&RegionId, &Sealer)| {
            Some((*region, SealVerifier::new(deployment.id, &sealer.verifying_key())?))
        };
        let heard = Arc::clone(&self.unborn.heard);
        let mailboxes = self.mailboxes.clone();
        let store = Arc::clone(&self.checkpoints.store);
        let inbox = InboxEngine::new(InboxParts {
            deployment: deployment.id,
            own,
            verifiers: deployment.sealers.iter().filter_map(verifier).collect(),
            is_operators: Arc::new(|_| false),
            is_erased: Arc::new(move |user| {
                let state = store.user(user).ok().flatten();
                state.is_some_and(|state| state.erased.is_some())
            }),
            clock: self.unborn.clock.clone(),
            future_limit_ms: FUTURE_LIMIT_MS,
            log: Arc::clone(&log),
            writer: self.writer.clone(),
            registry: self.view.clone(),
            absorb: Arc::new(move |sorted, absorbed| absorb(&mailboxes, sorted, absorbed)),
            notify: Arc::new(move |news| {
                heard.lock().unwrap_or_else(PoisonError::into_inner).push_back(news);
            }),
        });
        let pace = Pace {
            vector: std::time::Duration::from_secs(2),
            fetch: std::time::Duration::from_millis(1500),
            away: std::time::Duration::from_secs(20),
        };
        let peers = || deployment.nodes.iter().copied().filter(|node| *node != own.name());
        self.replica = Some(ReplicaEngine::new(EngineParts {
            deployment: deployment.id,
            own,
            sealer: sealer.clone(),
            link: deployment.net.link(own.name()),
            publisher: PublisherEngine::new(
                deployment.id,
                own.name(),
                runs.clone(),
                cursor,
                WINDOW,
            ),
            inbox,
            reconciler: ReconcilerEngine::new(own, peers(), pace),
            answers: Answers::new(runs),
            replicas: Replicas::new(peers()),
            parked: Parked::default(),
            log,
            clock: Arc::clone(self.unborn.clock.wall()),
            clock_limit_ms: FUTURE_LIMIT_MS,
            take_tokens: Box::new(|_| ()),
            state_hash: self.state_hash.subscribe(),
        }));
        Ok(())
    }

    /// Tells replication what it did not hear yet.
    pub(crate) fn hear(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        loop {
            let heard =
                self.unborn.heard.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(heard) = heard else { break };
            replica.heard(heard);
        }
        let mut waiting = Vec::new();
        for (ticket, mut confirm) in std::mem::take(&mut self.confirms) {
            match (&mut confirm).now_or_never() {
                Some(result) => replica.confirmed(ticket, result),
                None => waiting.push((ticket, confirm)),
            }
        }
        self.confirms = waiting;
    }

    /// Publishes what there is to publish.
    pub(crate) fn publish(&mut self) {
        if let Some(replica) = &mut self.replica {
            self.confirms.extend(replica.publish());
        }
    }
}
