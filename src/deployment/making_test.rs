//! A deployment is made whole or not at all, and nothing that is there is touched.

use std::collections::BTreeSet;
use std::fs;

use super::fixture::{counting, made, mode, names, options};
use super::*;

#[test]
fn a_new_deployment_opens_as_it_was_made() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    let first = made(&folder);
    let again = open(&folder).unwrap();
    assert_eq!(again.description(), first.description());
    assert_eq!(again.index_key_version(), 1);
    assert_eq!(again.index_key().expose(), first.index_key().expose());
    assert_eq!(again.region_signing_seed().expose(), first.region_signing_seed().expose());
    let common = &again.description().deployment;
    assert_eq!((common.name.as_str(), common.shards.get()), ("retail", 64));
    assert_eq!(again.description().node.as_str(), "n1");
    assert_eq!(again.folder(), folder);
}

#[test]
fn every_secret_is_drawn_by_itself() {
    let temp = tempfile::tempdir().unwrap();
    let deployment = made(&temp.path().join("data"));
    let operator = deployment.operator_key_left_here().unwrap();
    let secrets = BTreeSet::from([
        *deployment.secrets.index.expose(),
        *deployment.secrets.region_wrapping.expose(),
        *deployment.secrets.region_signing.expose(),
        *deployment.read_operator_key(&operator).unwrap().expose(),
    ]);
    assert_eq!(secrets.len(), 4);
}

#[test]
fn only_the_owner_may_enter_and_read() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    made(&folder);
    let keys = folder.join("keys");
    assert_eq!((mode(&folder), mode(&keys)), (0o700, 0o700));
    assert_eq!(names(&folder), BTreeSet::from(["deployment.json".into(), "keys".into()]));
    assert_eq!(names(&keys).len(), 4);
    for name in names(&keys) {
        assert_eq!(mode(&keys.join(&name)), 0o600, "{name}");
    }
}

#[test]
fn no_secret_stands_in_the_description_or_in_debug() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    let deployment = made(&folder);
    let open_text = fs::read_to_string(folder.join("deployment.json")).unwrap();
    let debug = format!("{deployment:?}");
    for secret in [
        &deployment.secrets.index,
        &deployment.secrets.region_wrapping,
        &deployment.secrets.region_signing,
    ] {
        let hex = hex::encode(secret.expose());
        assert!(!open_text.contains(&hex) && !debug.contains(&hex));
        assert!(!debug.contains(&format!("{:?}", secret.expose())));
    }
    assert!(debug.contains("[redacted]"));
}

#[test]
fn an_existing_deployment_is_refused_by_name_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    let first = made(&folder);
    let refused = init(&folder, &options(), &mut getrandom::fill).unwrap_err();
    assert!(matches!(refused, DeploymentError::Exists { .. }));
    assert!(
        refused
            .to_string()
            .contains(&format!("already holds the deployment {}, node west/n1", first.named())),
        "{refused}"
    );
    assert_eq!(open(&folder).unwrap().description(), first.description());
}

#[test]
fn a_damaged_deployment_is_not_overwritten_either() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    made(&folder);
    fs::write(folder.join("deployment.json"), "{}").unwrap();
    let refused = init(&folder, &options(), &mut getrandom::fill).unwrap_err();
    assert!(matches!(refused, DeploymentError::Damaged { .. }));
    assert_eq!(names(&folder.join("keys")).len(), 4);
}

#[test]
fn somebody_elses_files_are_never_touched() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("letter"), "dear").unwrap();
    let refused = init(temp.path(), &options(), &mut getrandom::fill).unwrap_err();
    assert!(matches!(refused, DeploymentError::NotEmpty { .. }));
    assert_eq!(names(temp.path()), BTreeSet::from(["letter".into()]));
}

#[test]
fn an_empty_folder_and_missing_folders_above_will_do() {
    let temp = tempfile::tempdir().unwrap();
    let empty = temp.path().join("empty");
    fs::create_dir(&empty).unwrap();
    made(&empty);
    made(&temp.path().join("a/b/c"));
}

#[test]
fn where_it_fails_nothing_is_left_behind() {
    for draws in 0..6 {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("data");
        let (mut source, mut left) = (counting(0), draws);
        let mut failing = |bytes: &mut [u8]| {
            if left == 0 {
                return Err(getrandom::Error::UNSUPPORTED);
            }
            left -= 1;
            source(bytes)
        };
        let refused = init(&folder, &options(), &mut failing).unwrap_err();
        assert!(matches!(refused, DeploymentError::Randomness(_)), "after {draws} draws");
        assert!(names(temp.path()).is_empty(), "after {draws} draws");
    }
}

#[test]
fn what_a_crash_left_beside_is_neither_opened_nor_in_the_way() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    let half = temp.path().join(".data.new-00000000");
    fs::create_dir_all(half.join("keys")).unwrap();
    fs::write(half.join("keys/index.key"), "half").unwrap();
    assert!(matches!(open(&folder), Err(DeploymentError::NoDeployment { .. })));
    made(&folder);
    open(&folder).unwrap();
}

#[test]
fn of_two_makers_at_once_one_wins_and_the_other_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    // The other one finishes between this one's look and its rename.
    let mut source = counting(0);
    let mut raced = false;
    let mut interrupted = |bytes: &mut [u8]| {
        if !raced {
            raced = true;
            made(&folder);
        }
        source(bytes)
    };
    let refused = init(&folder, &options(), &mut interrupted).unwrap_err();
    assert!(matches!(refused, DeploymentError::Exists { .. }), "{refused}");
    assert_eq!(names(temp.path()), BTreeSet::from(["data".into()]));
    open(&folder).unwrap();
}
