//! Regions come and go by the operator's word alone, forwards only, and keep their keys for ever.

use std::fs;

use super::bundle::join;
use super::description::RegionKeys;
use super::fixture::{files_of_joined, made, made_with, mode, names, now};
use super::regions::Accepted;
use super::*;
use crate::events::ids::BranchKeyId;
use crate::kms::{EncryptionContext, KeyMaterial, Kms as _, KmsError, Purpose};

fn operator_of(deployment: &Deployment) -> SecretKey {
    deployment.read_operator_key(&deployment.operator_key_left_here().unwrap()).unwrap()
}

fn region(name: &str) -> RegionId {
    name.parse().unwrap()
}

/// A deployment of west and east, with a node of each, and its operator key.
struct Two {
    temp: tempfile::TempDir,
    west: Deployment,
    east: Deployment,
    operator: SecretKey,
}

fn two() -> Two {
    let temp = tempfile::tempdir().unwrap();
    let west = made_with(&temp.path().join("west"), &["east/n1"]);
    let bundle = &west.bundles_left_here()[0];
    let east = join(bundle, &temp.path().join("east"), &mut getrandom::fill).unwrap();
    let operator = operator_of(&west);
    Two { temp, west, east, operator }
}

impl Two {
    fn out(&self) -> PathBuf {
        self.temp.path().join("out")
    }

    fn add(&mut self, first: &str) -> regions::Added {
        let out = self.out();
        let first = first.parse().unwrap();
        self.west.add_region(first, &self.operator, &out, &mut getrandom::fill).unwrap()
    }

    /// What the operator would sign if he signed anything, as a file.
    fn signed(&self, name: &str, change: impl FnOnce(&mut description::Common)) -> PathBuf {
        let mut deployment = self.west.description().deployment.clone();
        change(&mut deployment);
        let signature = deployment.sign(&self.operator).unwrap();
        let text = serde_json::json!({
            "format": 1, "deployment": deployment, "signature": signature,
        });
        let path = self.temp.path().join(name);
        fs::write(&path, text.to_string()).unwrap();
        path
    }
}

fn versions(deployment: &Deployment) -> [u32; 2] {
    let stored = open(deployment.folder()).unwrap();
    [deployment, &stored].map(|it| it.description().deployment.version)
}

#[test]
fn a_region_is_added_and_every_node_takes_it() {
    let mut two = two();
    let added = two.add("south/n1");
    let expected = ["regions-2.json", "south.n1.bundle"].map(str::to_owned);
    assert_eq!(names(&two.out()), BTreeSet::from(expected));
    assert_eq!(mode(&added.bundle), 0o600);
    assert_eq!(versions(&two.west), [2, 2]);
    assert_eq!(versions(&two.east), [1, 1]);
    assert_eq!(two.east.accept(&added.update).unwrap(), Accepted::Taken(2));
    assert_eq!(versions(&two.east), [2, 2]);
    assert_eq!(two.east.accept(&added.update).unwrap(), Accepted::Known(2));
    assert_eq!(two.west.accept(&added.update).unwrap(), Accepted::Known(2));
    let east = open(two.east.folder()).unwrap();
    assert_eq!(east.description().node_name().to_string(), "east/n1");
    assert_eq!(names(east.folder()), files_of_joined());

    let south = join(&added.bundle, &two.temp.path().join("south"), &mut getrandom::fill).unwrap();
    assert_eq!(south.description().deployment, east.description().deployment);
    assert_eq!(south.index_key().expose(), east.index_key().expose());
    let own = VerifyingKey::of_seed(south.region_signing_seed().expose());
    assert_eq!(east.verifying_key(region("south")), Some(own));

    // And what is wrapped for it now opens there.
    let context =
        EncryptionContext { deployment: east.id(), purpose: Purpose::BranchKey, key: KEY };
    let key = KeyMaterial::new(&[4; 32]);
    let wrapped = now(east.local_kms().wrap_key(region("south"), &key, &context)).unwrap();
    let opened = now(south.local_kms().unwrap_key(&wrapped, &context)).unwrap();
    assert_eq!(opened.expose(), key.expose());
}

const KEY: BranchKeyId = BranchKeyId([3; 16]);

#[test]
fn a_retired_region_is_wrapped_for_no_more_and_what_it_signed_verifies() {
    let mut two = two();
    let before = two.west.verifying_key(region("east"));
    let update = two.west.retire_region(region("east"), &two.operator, &two.out()).unwrap();
    let west = open(two.west.folder()).unwrap();
    assert!(before.is_some());
    assert_eq!(west.verifying_key(region("east")), before);
    assert_eq!(west.verifying_keys().count(), 2);
    let active: Vec<_> = west.description().deployment.active_regions().collect();
    assert_eq!(active.len(), 1);
    let context =
        EncryptionContext { deployment: west.id(), purpose: Purpose::BranchKey, key: KEY };
    let key = KeyMaterial::new(&[4; 32]);
    let refused = now(west.local_kms().wrap_key(region("east"), &key, &context));
    assert!(matches!(refused, Err(KmsError::NoSuchRegion(named)) if named == region("east")));
    west.check_not_retired().unwrap();

    // Its own node takes it, too, and serves no more.
    two.east.check_not_retired().unwrap();
    two.east.accept(&update).unwrap();
    let refused = two.east.check_not_retired().unwrap_err();
    assert!(refused.to_string().contains("region east of deployment retail ("), "{refused}");
    assert!(two.east.write_bundle("n2".parse().unwrap(), &two.out()).is_err());
}

#[test]
fn a_name_is_given_once_and_the_last_region_stays() {
    let mut two = two();
    let (operator, out) = (two.operator.clone(), two.out());
    let add = |west: &mut Deployment, name: &str| {
        west.add_region(name.parse().unwrap(), &operator, &out, &mut getrandom::fill)
    };
    let refused = add(&mut two.west, "east/n9").unwrap_err();
    assert!(matches!(refused, DeploymentError::RegionExists { .. }), "{refused}");
    two.west.retire_region(region("east"), &operator, &out).unwrap();
    let refused = add(&mut two.west, "east/n9").unwrap_err();
    assert!(matches!(refused, DeploymentError::RegionExists { .. }), "{refused}");
    let mut retire = |name: &str| two.west.retire_region(region(name), &operator, &out);
    assert!(matches!(retire("east"), Err(DeploymentError::Retired { .. })));
    assert!(matches!(retire("west"), Err(DeploymentError::LastRegion { .. })));
    assert!(matches!(retire("north"), Err(DeploymentError::NoSuchRegion { .. })));
    assert_eq!(versions(&two.west), [2, 2]);
}

#[test]
fn an_update_that_the_operator_did_not_sign_is_refused() {
    let mut two = two();
    let added = two.add("south/n1");
    let text = fs::read_to_string(&added.update).unwrap();
    let altered = two.temp.path().join("forged.json");
    let changed = text.replace("\"retired\": false", "\"retired\": true");
    assert_ne!(changed, text);
    for forgery in [changed, text.replace("\"version\": 2", "\"version\": 3")] {
        fs::write(&altered, forgery).unwrap();
        let refused = two.east.accept(&altered).unwrap_err();
        assert!(matches!(refused, DeploymentError::UnsignedUpdate { .. }), "{refused}");
        assert!(refused.to_string().contains(&two.west.named().to_string()), "{refused}");
    }
    // A whole description under an operator key of the forger's own.
    let forger = SecretKey::new(&[9; 32]);
    let mut deployment = two.west.description().deployment.clone();
    deployment.operator_key = VerifyingKey::of_seed(forger.expose());
    let signature = deployment.sign(&forger).unwrap();
    let whole =
        serde_json::json!({ "format": 1, "deployment": deployment, "signature": signature });
    fs::write(&altered, whole.to_string()).unwrap();
    let refused = two.east.accept(&altered).unwrap_err();
    assert!(matches!(refused, DeploymentError::UnsignedUpdate { .. }), "{refused}");
    assert_eq!(versions(&two.east), [1, 1]);
}

#[test]
fn an_older_update_and_a_rival_one_are_refused() {
    let mut two = two();
    let first = two.add("south/n1").update;
    let out = two.out();
    let second = two.west.retire_region(region("south"), &two.operator, &out).unwrap();
    // A node that was away takes the newest at once.
    assert_eq!(two.east.accept(&second).unwrap(), Accepted::Taken(3));
    let refused = two.east.accept(&first).unwrap_err();
    assert!(
        matches!(refused, DeploymentError::OlderUpdate { found: 2, known: 3, .. }),
        "{refused}"
    );
    let rival = two.signed("rival.json", |it| it.regions[0].retired = true);
    let refused = two.east.accept(&rival).unwrap_err();
    assert!(matches!(refused, DeploymentError::RivalUpdate { version: 3, .. }), "{refused}");
    assert_eq!(versions(&two.east), [3, 3]);
}

type Change<'a> = (&'a str, &'a dyn Fn(&mut description::Common));

#[test]
fn an_update_that_takes_back_what_was_is_refused_even_when_it_is_signed() {
    let mut two = two();
    let out = two.out();
    two.add("south/n1");
    let update = two.west.retire_region(region("south"), &two.operator, &out).unwrap();
    two.east.accept(&update).unwrap();
    let other = made(&two.temp.path().join("other")).description.deployment.regions[0].clone();
    let changes: [Change<'_>; 6] = [
        ("a region is gone", &|it| it.regions.truncate(2)),
        ("a retired region is back", &|it| it.regions[1].retired = false),
        ("changes a region's signing key", &|it| {
            it.regions[0] = RegionKeys { region: it.regions[0].region, ..other.clone() };
        }),
        ("changes what never changes", &|it| it.name = "wholesale".parse().unwrap()),
        ("changes what never changes", &|it| it.shards = NonZeroU16::MIN),
        ("not sorted", &|it| it.regions.reverse()),
    ];
    for (reason, change) in changes {
        let path = two.signed("wrong.json", |it| {
            it.version += 1;
            change(it);
        });
        let refused = two.east.accept(&path).unwrap_err();
        assert!(refused.to_string().contains(reason), "{reason}: {refused}");
    }
    let right = two.signed("right.json", |it| it.version += 1);
    assert_eq!(two.east.accept(&right).unwrap(), Accepted::Taken(4));
}

#[test]
fn another_deployments_update_is_refused_and_both_are_named() {
    let mut two = two();
    let added = two.add("south/n1");
    let options = InitOptions { name: "wholesale".parse().unwrap(), ..fixture::options() };
    let mut other = init(&two.temp.path().join("other"), &options, &mut getrandom::fill).unwrap();
    let refused = other.accept(&added.update).unwrap_err();
    assert!(matches!(refused, DeploymentError::ForeignUpdate { .. }));
    for deployment in [&two.west, &other] {
        assert!(refused.to_string().contains(&deployment.named().to_string()), "{refused}");
    }
    assert_eq!(versions(&other), [1, 1]);
}

#[test]
fn what_is_no_update_is_refused_by_name() {
    let mut two = two();
    let path = two.temp.path().join("update.json");
    let missing = two.east.accept(&path).unwrap_err();
    assert!(missing.to_string().contains("update.json"), "{missing}");
    let own = fs::read_to_string(two.west.folder().join("deployment.json")).unwrap();
    for (text, newer) in [("", false), ("{}", false), (&*own, false), (r#"{"format":2}"#, true)] {
        fs::write(&path, text).unwrap();
        let refused = two.east.accept(&path).unwrap_err();
        assert!(refused.to_string().contains("update.json"), "{refused}");
        assert_eq!(matches!(refused, DeploymentError::Newer { .. }), newer, "{refused}");
    }
    assert_eq!(versions(&two.east), [1, 1]);
}

#[test]
fn where_adding_fails_the_description_stays_as_it_was() {
    let mut two = two();
    let out = two.out();
    fs::create_dir(&out).unwrap();
    fs::write(out.join("regions-2.json"), "somebody's").unwrap();
    let first = "south/n1".parse().unwrap();
    let refused = two.west.add_region(first, &two.operator, &out, &mut getrandom::fill);
    assert!(matches!(refused, Err(DeploymentError::Io { .. })), "{refused:?}");
    assert_eq!(versions(&two.west), [1, 1]);
    assert_eq!(fs::read_to_string(out.join("regions-2.json")).unwrap(), "somebody's");
    assert_eq!(names(&out).len(), 1, "a bundle is left");
}
