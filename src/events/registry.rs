//! What the events of companies and of the deployment fold to: companies, their keys and hash
//! profiles, branch keys, lives of nodes, distrust. Small enough to be held in memory whole.

use std::collections::{BTreeMap, BTreeSet};

use super::cell::{Cell, Effect, Mark};
use super::event::{
    ApiKeyIssued, BranchKeyCreated, BranchKeyWrapped, CompanyRegistered, Event,
    HashProfileDeclared, OriginDistrusted, OriginOpened,
};
use super::ids::{ApiKeyId, BranchKeyId, CompanyId, Country, HashProfileId, ProfileName, RegionId};
use super::policy::Policies;
use super::record::{Fact, Register, Subject};
use super::stamp::{EventRef, Origin, Revision};
use super::state_hash::StateHasher;

/// Everything that is not about users.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryState {
    /// The companies.
    pub companies: BTreeMap<CompanyId, CompanyState>,
    /// The branch keys and who can open them.
    pub branch_keys: BTreeMap<BranchKeyId, BranchKey>,
    /// The lives of all nodes.
    pub lives: BTreeMap<Origin, Cell<OriginOpened>>,
    /// What operators cut off.
    pub distrust: Distrust,
}

/// One company.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompanyState {
    /// Its countries and signing.
    pub registered: Option<Cell<CompanyRegistered>>,
    /// Its policies; none means the default ones.
    pub policies: Option<Cell<Policies>>,
    /// Its API keys.
    pub keys: BTreeMap<ApiKeyId, ApiKey>,
    /// Its hash profiles by name: which content each has now.
    pub profiles: BTreeMap<(Country, ProfileName), Cell<HashProfileId>>,
    /// Every content a profile ever had: a stored hash names the one it came with.
    pub contents: BTreeMap<HashProfileId, Cell<HashProfileDeclared>>,
}

/// One API key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiKey {
    /// What it is.
    pub issued: Option<Cell<ApiKeyIssued>>,
    /// Set for ever once it is withdrawn.
    pub revoked: Option<Cell<()>>,
    /// Every event about it. They are known without their bodies, which an export may leave out,
    /// so the state hash is over these.
    pub events: BTreeSet<Mark>,
}

/// One branch key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BranchKey {
    /// Who made it and when.
    pub created: Option<Mark>,
    /// The wrapped keys of each region, by the event that brought them. Add-only: a wrapping that
    /// opens to something else does not displace one that is right. An empty one says that none
    /// before it opens to the key.
    pub wrapped: BTreeMap<RegionId, BTreeMap<Mark, Box<[u8]>>>,
    /// Every event about it, also those whose bodies are blanked: the state hash is over these.
    pub events: BTreeSet<Mark>,
}

impl BranchKey {
    /// Whether a region is yet to be given a wrapping: it has none, or none that opens to the key
    /// since it said that.
    pub fn is_hole(&self, region: RegionId) -> bool {
        let newest = self.wrapped.get(&region).and_then(|wrappings| wrappings.last_key_value());
        newest.is_none_or(|(_, wrapped)| wrapped.is_empty())
    }

    /// How often a region said that none of its wrappings opens to the key.
    pub fn disowned(&self, region: RegionId) -> usize {
        let wrappings = self.wrapped.get(&region).into_iter().flat_map(BTreeMap::values);
        wrappings.filter(|wrapped| wrapped.is_empty()).count()
    }
}

impl CompanyState {
    /// What the company may do.
    pub fn policies(&self) -> Policies {
        self.policies.as_ref().map_or(Policies::DEFAULT, |cell| cell.value)
    }

    /// Its countries, sorted.
    pub fn countries(&self) -> &[Country] {
        self.registered.as_ref().map_or(&[], |cell| &cell.value.countries)
    }

    /// The keys that stand, with what they are.
    pub fn live_keys(&self) -> impl Iterator<Item = &ApiKeyIssued> {
        let live = self.keys.values().filter(|key| key.revoked.is_none());
        live.filter_map(|key| key.issued.as_ref()).map(|cell| &cell.value)
    }
}

impl RegistryState {
    /// Folds one fact. Facts about users say nothing here.
    pub fn evolve(&mut self, fact: &Fact) -> Effect {
        let mark = Mark::of(fact);
        let noted = self.note(fact, mark);
        let Some(event) = &fact.event else { return noted };
        let effect = match (fact.subject, event) {
            (Subject::Company(id), event) => {
                self.companies.entry(id).or_default().evolve(mark, event)
            }
            (Subject::Deployment, Event::OriginOpened(opened)) => {
                let origin = fact.reference.origin;
                Cell::offer_in(&mut self.lives, origin, mark, opened.clone())
            }
            (Subject::Deployment, Event::BranchKeyCreated(created)) => {
                self.branch_key_created(mark, created)
            }
            (Subject::Deployment, Event::BranchKeyWrapped(wrapped)) => {
                self.branch_key_wrapped(mark, wrapped)
            }
            (Subject::Deployment, Event::OriginDistrusted(distrusted)) => {
                self.distrust.add(distrusted, mark)
            }
            _ => Effect::Ignored,
        };
        noted.and(effect)
    }

    /// Keeps what an event about a key says without its body.
    fn note(&mut self, fact: &Fact, mark: Mark) -> Effect {
        let events = match (fact.subject, fact.register) {
            (Subject::Company(company), Register::ApiKey(key)) => {
                let company = self.companies.entry(company).or_default();
                &mut company.keys.entry(key).or_default().events
            }
            (Subject::Deployment, Register::BranchKey(key)) => {
                &mut self.branch_keys.entry(key).or_default().events
            }
            _ => return Effect::Ignored,
        };
        if events.insert(mark) { Effect::Prevailed } else { Effect::Known }
    }

    fn branch_key_created(&mut self, mark: Mark, created: &BranchKeyCreated) -> Effect {
        let key = self.branch_keys.entry(created.key).or_default();
        let mut added = Effect::Known;
        for (region, wrapped) in &created.wrapped {
            let of_region = key.wrapped.entry(*region).or_default();
            if of_region.insert(mark, wrapped.clone()).is_none() {
                added = Effect::Prevailed;
            }
        }
        let named = match key.created {
            Some(known) if known == mark => Effect::Known,
            Some(known) if known > mark => Effect::Lost,
            _ => {
                key.created = Some(mark);
                Effect::Prevailed
            }
        };
        named.and(added)
    }

    fn branch_key_wrapped(&mut self, mark: Mark, wrapped: &BranchKeyWrapped) -> Effect {
        let key = self.branch_keys.entry(wrapped.key).or_default();
        let of_region = key.wrapped.entry(wrapped.region).or_default();
        match of_region.insert(mark, wrapped.wrapped.clone()) {
            Some(_) => Effect::Known,
            None => Effect::Prevailed,
        }
    }

    /// The company an API key belongs to, and the key, if it stands.
    pub fn api_key(&self, id: ApiKeyId) -> Option<&ApiKeyIssued> {
        self.companies.values().find_map(|company| {
            let key = company.keys.get(&id).filter(|key| key.revoked.is_none())?;
            key.issued.as_ref().map(|cell| &cell.value)
        })
    }

    /// The newest life of a node that is known.
    pub fn newest_life(&self, region: RegionId, node: super::ids::NodeId) -> Option<Origin> {
        let of_node = |origin: &&Origin| origin.region == region && origin.node == node;
        self.lives.keys().filter(of_node).max_by_key(|origin| origin.incarnation).copied()
    }

    /// Adds everything to a state hash, in a fixed order.
    pub fn feed(&self, hasher: &mut StateHasher) {
        for (id, company) in &self.companies {
            let mut part = |name: String, mark: &Mark| {
                hasher.registry(&format!("company/{id}/{name}"), mark);
            };
            company.registered.iter().for_each(|cell| part("registered".into(), &cell.mark));
            company.policies.iter().for_each(|cell| part("policies".into(), &cell.mark));
            for (key, state) in &company.keys {
                state.events.iter().for_each(|mark| part(format!("key/{key}"), mark));
            }
            for ((country, name), cell) in &company.profiles {
                part(format!("profile/{country}/{name}"), &cell.mark);
            }
            for (content, cell) in &company.contents {
                part(format!("content/{content}"), &cell.mark);
            }
        }
        for (id, key) in &self.branch_keys {
            key.events.iter().for_each(|mark| hasher.registry(&format!("branch/{id}"), mark));
        }
        for (origin, cell) in &self.lives {
            hasher.registry(&format!("life/{origin}"), &cell.mark);
        }
        self.distrust.feed(hasher);
    }
}

impl CompanyState {
    fn evolve(&mut self, mark: Mark, event: &Event) -> Effect {
        match event {
            Event::CompanyRegistered(registered) => {
                Cell::offer(&mut self.registered, mark, registered.clone())
            }
            Event::PolicySet(set) => Cell::offer(&mut self.policies, mark, set.policies),
            Event::ApiKeyIssued(issued) => {
                let key = self.keys.entry(issued.key).or_default();
                Cell::offer(&mut key.issued, mark, issued.clone())
            }
            Event::ApiKeyRevoked(revoked) => {
                let key = self.keys.entry(revoked.key).or_default();
                Cell::offer(&mut key.revoked, mark, ())
            }
            Event::HashProfileDeclared(declared) => {
                let at = (declared.slot.country, declared.name);
                let named = Cell::offer_in(&mut self.profiles, at, mark, declared.id);
                let content = declared.clone();
                Cell::offer_in(&mut self.contents, declared.id, mark, content).and(named)
            }
            _ => Effect::Ignored,
        }
    }
}

/// Which lives are cut off, and from which event on.
///
/// It is known before anything else is folded: an event that does not count is not folded at all,
/// nor is an upgrade of it. So a distrust that arrives late means folding anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distrust {
    cuts: BTreeMap<Mark, Cut>,
}

/// One operator's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    origin: Origin,
    from: u64,
    and_later: bool,
}

impl Distrust {
    fn add(&mut self, distrusted: &OriginDistrusted, mark: Mark) -> Effect {
        match self.cuts.insert(mark, Cut::of(distrusted)) {
            Some(_) => Effect::Known,
            None => Effect::Prevailed,
        }
    }

    /// Whether a fact counts.
    pub fn counts(&self, fact: &Fact) -> bool {
        let trusted = |at: &EventRef| !self.cuts.values().any(|cut| cut.holds(at));
        let lineage = match &fact.event {
            // Who is distrusted stays so, whoever says it: the signature is the operator's.
            Some(Event::OriginDistrusted(_)) => return true,
            Some(Event::PasswordSet(set)) => set.upgrade.as_ref(),
            _ => None,
        };
        trusted(&fact.reference) && lineage.is_none_or(|from| from.lineage.iter().all(trusted))
    }

    /// Whether an operator decided just this before.
    pub fn has(&self, distrusted: &OriginDistrusted) -> bool {
        let cut = Cut::of(distrusted);
        self.cuts.values().any(|known| *known == cut)
    }

    /// Whether nothing is distrusted.
    pub fn is_empty(&self) -> bool {
        self.cuts.is_empty()
    }

    fn feed(&self, hasher: &mut StateHasher) {
        for mark in self.cuts.keys() {
            hasher.registry("distrust", mark);
        }
    }

    /// What is cut off, for lists: from which event of which life on, whether with every later
    /// life of the node, and since when.
    pub fn iter(&self) -> impl Iterator<Item = (EventRef, bool, Revision)> + '_ {
        self.cuts.iter().map(|(mark, cut)| {
            let from = EventRef { origin: cut.origin, sequence: cut.from };
            (from, cut.and_later, mark.stamp.revision)
        })
    }
}

impl Cut {
    const fn of(distrusted: &OriginDistrusted) -> Self {
        Self {
            origin: distrusted.origin,
            from: distrusted.from_sequence,
            and_later: distrusted.and_later_lives,
        }
    }

    fn holds(&self, at: &EventRef) -> bool {
        let (cut, of) = (&self.origin, &at.origin);
        let later = self.and_later
            && (cut.region, cut.node) == (of.region, of.node)
            && of.incarnation > cut.incarnation;
        later || (of == cut && at.sequence >= self.from)
    }
}
