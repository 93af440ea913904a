//! Given what happened, when the registry is asked, then this happens or that is refused.

use jcas::events::command::Outcome;
use jcas::events::decide_registry::{RegistryCommand, RegistryRejection, decide_registry};
use jcas::events::event::{
    ApiKeyIssued, ApiKeyRevoked, BranchKeyCreated, BranchKeyWrapped, Cause, CompanyRegistered,
    Draft, Event, HashProfileDeclared, OriginDistrusted, OriginOpened, PolicySet,
};
use jcas::events::ids::{
    ApiKeyId, BranchKeyId, CompanyId, Country, Digest, HashProfileId, RegionId, Slot,
};
use jcas::events::policy::{Policies, Scope, Scopes, Signing};
use jcas::events::record::{Fact, Subject};
use jcas::events::registry::RegistryState;
use jcas::events::stamp::{EffectiveTime, Incarnation, Origin, Revision};

type Decided = Result<(Vec<Draft>, Outcome), RegistryRejection>;

fn company(id: &str) -> CompanyId {
    id.parse().unwrap()
}

fn countries(codes: &[&str]) -> Vec<Country> {
    codes.iter().map(|code| code.parse().unwrap()).collect()
}

fn shop(codes: &[&str]) -> CompanyRegistered {
    let signing = Signing::Optional;
    CompanyRegistered { company: company("shop"), countries: countries(codes), signing }
}

fn key(id: &str) -> ApiKeyIssued {
    ApiKeyIssued {
        company: company("shop"),
        key: id.parse().unwrap(),
        digest: [1; 32],
        scopes: Scopes::new([Scope::Read]),
        expires_unix_ms: None,
        signing: None,
    }
}

fn profile(country: &str, id: u8) -> HashProfileDeclared {
    HashProfileDeclared {
        slot: Slot { company: company("shop"), country: country.parse().unwrap() },
        name: "default".parse().unwrap(),
        id: HashProfileId([id; 16]),
        branch: BranchKeyId([9; 16]),
        sealed: [id; 8].into(),
    }
}

/// What the registry is after these events, one a millisecond.
fn given(events: Vec<(Subject, Event)>) -> RegistryState {
    let mut state = RegistryState::default();
    let incarnation = Incarnation { counter: 1, tag: 1 };
    let origin = Origin { region: "eu".parse().unwrap(), node: "a".parse().unwrap(), incarnation };
    for (at, (subject, event)) in (1_u8..).zip(events) {
        let revision = Revision::from_unix_ms(at.into());
        let effective = EffectiveTime::at(revision);
        let draft = Draft { subject, revision, effective, cause: Cause::default(), event };
        state.evolve(&Fact::pending(draft, origin, Digest([at; 32])));
    }
    state
}

fn of_shop(event: Event) -> (Subject, Event) {
    (Subject::Company(company("shop")), event)
}

fn a_shop() -> Vec<(Subject, Event)> {
    vec![of_shop(Event::CompanyRegistered(shop(&["KE", "NG"])))]
}

const NOW: Revision = Revision::from_unix_ms(1000);

fn when(state: &RegistryState, command: RegistryCommand) -> Decided {
    decide_registry(state, command, NOW, Cause::default())
}

#[track_caller]
fn then(decided: &Decided, subject: Subject, event: Event) {
    let effective = EffectiveTime::at(NOW);
    let draft = Draft { subject, revision: NOW, effective, cause: Cause::default(), event };
    assert_eq!(decided, &Ok((vec![draft], Outcome::Applied)));
}

#[track_caller]
fn then_of_shop(decided: &Decided, event: Event) {
    then(decided, Subject::Company(company("shop")), event);
}

#[track_caller]
fn then_unchanged(decided: &Decided) {
    assert_eq!(decided, &Ok((Vec::new(), Outcome::Unchanged)));
}

#[test]
fn a_company_is_made_with_its_countries_sorted_and_once_each() {
    let put = RegistryCommand::PutCompany(shop(&["NG", "KE", "NG"]));
    then_of_shop(&when(&given(vec![]), put), Event::CompanyRegistered(shop(&["KE", "NG"])));
}

#[test]
fn the_same_company_again_is_unchanged_and_another_country_is_not() {
    let state = given(a_shop());
    then_unchanged(&when(&state, RegistryCommand::PutCompany(shop(&["NG", "KE"]))));
    let more = shop(&["EG", "KE", "NG"]);
    let put = RegistryCommand::PutCompany(more.clone());
    then_of_shop(&when(&state, put), Event::CompanyRegistered(more));
}

#[test]
fn a_company_without_a_country_is_refused() {
    let put = RegistryCommand::PutCompany(shop(&[]));
    assert_eq!(when(&given(vec![]), put), Err(RegistryRejection::NoCountry));
}

#[test]
fn policies_are_set_of_a_known_company_and_the_same_are_unchanged() {
    let set = PolicySet { company: company("shop"), policies: Policies::TRUSTED };
    let command = RegistryCommand::SetPolicies(set.clone());
    let unknown = Err(RegistryRejection::UnknownCompany(company("shop")));
    assert_eq!(when(&given(vec![]), command.clone()), unknown);
    then_of_shop(&when(&given(a_shop()), command.clone()), Event::PolicySet(set.clone()));
    let mut trusted = a_shop();
    trusted.push(of_shop(Event::PolicySet(set)));
    then_unchanged(&when(&given(trusted), command));
    let default = PolicySet { company: company("shop"), policies: Policies::DEFAULT };
    then_unchanged(&when(&given(a_shop()), RegistryCommand::SetPolicies(default)));
}

#[test]
fn a_key_is_issued_once_and_its_id_never_again() {
    let command = RegistryCommand::IssueKey(key("k1"));
    let unknown = Err(RegistryRejection::UnknownCompany(company("shop")));
    assert_eq!(when(&given(vec![]), command.clone()), unknown);
    then_of_shop(&when(&given(a_shop()), command.clone()), Event::ApiKeyIssued(key("k1")));
    let id: ApiKeyId = "k1".parse().unwrap();
    let revoked = ApiKeyRevoked { company: company("shop"), key: id };
    let mut events = a_shop();
    events.push(of_shop(Event::ApiKeyIssued(key("k1"))));
    assert_eq!(when(&given(events.clone()), command.clone()), Err(RegistryRejection::KeyTaken(id)));
    events.push(of_shop(Event::ApiKeyRevoked(revoked)));
    assert_eq!(when(&given(events), command), Err(RegistryRejection::KeyTaken(id)));
}

#[test]
fn a_standing_key_is_revoked_and_no_other() {
    let id: ApiKeyId = "k1".parse().unwrap();
    let command = RegistryCommand::RevokeKey(company("shop"), id);
    assert_eq!(when(&given(a_shop()), command.clone()), Err(RegistryRejection::UnknownKey(id)));
    let mut events = a_shop();
    events.push(of_shop(Event::ApiKeyIssued(key("k1"))));
    let revoked = ApiKeyRevoked { company: company("shop"), key: id };
    then_of_shop(
        &when(&given(events.clone()), command.clone()),
        Event::ApiKeyRevoked(revoked.clone()),
    );
    events.push(of_shop(Event::ApiKeyRevoked(revoked)));
    assert_eq!(when(&given(events), command), Err(RegistryRejection::UnknownKey(id)));
}

#[test]
fn a_hash_profile_is_declared_for_a_declared_country_and_the_same_is_unchanged() {
    let command = RegistryCommand::DeclareProfile(profile("NG", 1));
    then_of_shop(
        &when(&given(a_shop()), command.clone()),
        Event::HashProfileDeclared(profile("NG", 1)),
    );
    let mut events = a_shop();
    events.push(of_shop(Event::HashProfileDeclared(profile("NG", 1))));
    then_unchanged(&when(&given(events.clone()), command));
    let other = RegistryCommand::DeclareProfile(profile("NG", 2));
    then_of_shop(&when(&given(events), other), Event::HashProfileDeclared(profile("NG", 2)));
    let elsewhere = RegistryCommand::DeclareProfile(profile("EG", 1));
    assert_eq!(when(&given(a_shop()), elsewhere), Err(RegistryRejection::CountryUndeclared));
}

#[test]
fn branch_keys_and_lives_are_recorded_as_they_are() {
    let created = BranchKeyCreated { key: BranchKeyId([1; 16]), wrapped: Vec::new() };
    let command = RegistryCommand::CreateBranchKey(created.clone());
    then(&when(&given(vec![]), command), Subject::Deployment, Event::BranchKeyCreated(created));
    let opened = OriginOpened { previous: None, verifying_key: [1; 32] };
    let command = RegistryCommand::OpenOrigin(opened.clone());
    then(&when(&given(vec![]), command), Subject::Deployment, Event::OriginOpened(opened));
}

#[test]
fn a_wrapping_that_a_region_disowns_is_a_hole_until_another_is_recorded() {
    let (key, eu): (_, RegionId) = (BranchKeyId([1; 16]), "eu".parse().unwrap());
    let bytes = |byte| -> Box<[u8]> { [byte; 4].into() };
    let wrapping = |wrapped| BranchKeyWrapped { key, region: eu, wrapped };
    let recorded = |wrapped| (Subject::Deployment, Event::BranchKeyWrapped(wrapping(wrapped)));
    let created = BranchKeyCreated { key, wrapped: vec![(eu, bytes(1))] };
    let mut events = vec![(Subject::Deployment, Event::BranchKeyCreated(created))];
    let fill = || RegistryCommand::WrapBranchKey(wrapping(bytes(2)));
    let disown = || RegistryCommand::DisownBranchKey(key, eu);
    let then_recorded = |decided: &Decided, wrapped| {
        then(decided, Subject::Deployment, Event::BranchKeyWrapped(wrapping(wrapped)));
    };
    then_unchanged(&when(&given(vec![]), disown()));
    // A region that opens nothing that is made for it is not given wrappings for ever.
    for _ in 0..3 {
        then_unchanged(&when(&given(events.clone()), fill()));
        then_recorded(&when(&given(events.clone()), disown()), Box::default());
        events.push(recorded(Box::default()));
        assert!(given(events.clone()).branch_keys[&key].is_hole(eu));
        then_unchanged(&when(&given(events.clone()), disown()));
        then_recorded(&when(&given(events.clone()), fill()), bytes(2));
        events.push(recorded(bytes(2)));
        assert!(!given(events.clone()).branch_keys[&key].is_hole(eu));
    }
    then_unchanged(&when(&given(events), disown()));
}

#[test]
fn a_life_is_cut_off_once_and_from_elsewhere_again() {
    let origin = "eu/n1#1.00000007".parse().unwrap();
    let cut = |from_sequence| OriginDistrusted {
        origin,
        from_sequence,
        and_later_lives: false,
        signature: vec![7; 64].into(),
    };
    let command = |from| RegistryCommand::Distrust(cut(from));
    then(&when(&given(vec![]), command(5)), Subject::Deployment, Event::OriginDistrusted(cut(5)));
    let known = || given(vec![(Subject::Deployment, Event::OriginDistrusted(cut(5)))]);
    then_unchanged(&when(&known(), command(5)));
    then(&when(&known(), command(3)), Subject::Deployment, Event::OriginDistrusted(cut(3)));
}
