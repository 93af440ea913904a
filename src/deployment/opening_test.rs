//! Only a deployment's own, private, undamaged files open it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::fixture::{KEY_FILES, made, mode, names};
use super::*;

#[test]
fn a_folder_without_a_deployment_says_how_to_make_one() {
    let temp = tempfile::tempdir().unwrap();
    let refused = open(temp.path()).unwrap_err();
    assert!(matches!(refused, DeploymentError::NoDeployment { .. }));
    assert!(refused.to_string().contains("jcas init"));
}

#[test]
fn each_missing_key_is_named() {
    for name in KEY_FILES {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("data");
        made(&folder);
        fs::remove_file(folder.join("keys").join(name)).unwrap();
        let refused = open(&folder).unwrap_err();
        assert!(matches!(refused, DeploymentError::MissingKey { .. }));
        assert!(refused.to_string().contains(name), "{refused}");
    }
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    made(&folder);
    fs::remove_dir_all(folder.join("keys")).unwrap();
    assert!(matches!(open(&folder), Err(DeploymentError::MissingKey { .. })));
}

#[test]
fn a_secret_that_others_may_touch_is_refused_with_its_mode() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    made(&folder);
    let keys = folder.join("keys");
    let mut paths: Vec<_> = names(&keys).iter().map(|name| keys.join(name)).collect();
    paths.push(keys);
    for path in paths {
        let before = mode(&path);
        for bit in [0o040, 0o020, 0o010, 0o004, 0o002, 0o001] {
            fs::set_permissions(&path, fs::Permissions::from_mode(before | bit)).unwrap();
            let refused = open(&folder).unwrap_err();
            let DeploymentError::Exposed { path: named, mode } = &refused else {
                panic!("{refused}")
            };
            assert_eq!((named, *mode), (&path, before | bit));
            assert!(refused.to_string().contains(&format!("mode {:04o}", before | bit)));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
    }
    open(&folder).unwrap();
}

#[test]
fn a_key_of_another_deployment_is_refused_with_both_ids() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, other) = (temp.path().join("data"), temp.path().join("other"));
    let (ours, theirs) = (made(&folder), made(&other));
    for name in KEY_FILES {
        let path = folder.join("keys").join(name);
        let before = fs::read(&path).unwrap();
        fs::copy(other.join("keys").join(name), &path).unwrap();
        let refused = open(&folder).unwrap_err();
        assert!(matches!(refused, DeploymentError::ForeignKey { .. }));
        for id in [ours.description(), theirs.description()].map(|it| it.deployment.id) {
            assert!(refused.to_string().contains(&id.to_string()), "{refused}");
        }
        fs::write(&path, before).unwrap();
    }
}

#[test]
fn a_key_under_another_ones_name_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    made(&folder);
    let keys = folder.join("keys");
    fs::copy(keys.join("region-signing.key"), keys.join("region-wrapping.key")).unwrap();
    let refused = open(&folder).unwrap_err();
    assert!(matches!(refused, DeploymentError::WrongPurpose { .. }));
    let said = "holds the region's signing key, not the region's wrapping key";
    assert!(refused.to_string().contains(said), "{refused}");
}

#[test]
fn a_key_of_the_deployment_that_its_description_does_not_name_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    let deployment = made(&folder).description.deployment.id;
    for purpose in [KeyPurpose::Index, KeyPurpose::RegionWrapping, KeyPurpose::RegionSigning] {
        let path = folder.join("keys").join(purpose.file_name());
        let before = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let secret = SecretKey::new(&[9; 32]);
        // Of index keys, which have no public half, the version tells.
        StoredKey { deployment, purpose, version: 2, secret }.write_new(&path).unwrap();
        assert!(matches!(open(&folder), Err(DeploymentError::UnfitKey { path: at }) if at == path));
        fs::write(&path, before).unwrap();
    }
    open(&folder).unwrap();
}

#[test]
fn every_changed_bit_and_every_other_length_of_a_key_file_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    made(&folder);
    for name in KEY_FILES {
        let path = folder.join("keys").join(name);
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), 64);
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, changed).unwrap();
            let refused = open(&folder).unwrap_err();
            let version = bit / 8 == 8;
            assert!(
                matches!(refused, DeploymentError::Damaged { .. })
                    || version && matches!(refused, DeploymentError::Newer { .. }),
                "{name}, bit {bit}: {refused}"
            );
        }
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            assert!(matches!(open(&folder), Err(DeploymentError::Damaged { .. })), "{len}");
        }
        fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert!(matches!(open(&folder), Err(DeploymentError::Damaged { .. })));
        fs::write(&path, whole).unwrap();
    }
    open(&folder).unwrap();
}

#[test]
fn files_of_a_newer_version_are_named_as_such() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    made(&folder);
    let path = folder.join("keys/index.key");
    let before = fs::read(&path).unwrap();
    // What follows the version may be laid out in any way.
    fs::write(&path, b"JCAS-KEY\x02?").unwrap();
    let newer = |found: &DeploymentError| {
        matches!(found, DeploymentError::Newer { found: 2, known: 1, .. })
    };
    assert!(newer(&open(&folder).unwrap_err()));
    fs::write(&path, before).unwrap();
    fs::write(folder.join("deployment.json"), r#"{"format":2,"sites":[]}"#).unwrap();
    let refused = open(&folder).unwrap_err();
    assert!(newer(&refused));
    assert!(refused.to_string().contains("start a newer one"));
}
