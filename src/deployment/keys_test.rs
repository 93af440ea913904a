//! Who speaks for the operator, and what a region's keys open.

use std::fs;

use super::fixture::{made, now};
use super::*;
use crate::kms::{EncryptionContext, KeyMaterial, Kms as _, Purpose};

#[test]
fn the_operator_key_may_leave_the_node() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    let left = made(&folder).operator_key_left_here().unwrap();
    let offline = temp.path().join("stick.key");
    fs::rename(left, &offline).unwrap();
    let deployment = open(&folder).unwrap();
    assert_eq!(deployment.operator_key_left_here(), None);
    let seed = deployment.read_operator_key(&offline).unwrap();
    assert_eq!(
        VerifyingKey::of_seed(seed.expose()),
        deployment.description().deployment.operator_key
    );
}

#[test]
fn no_other_key_speaks_for_the_operator() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    let deployment = made(&folder);
    let foreign = made(&temp.path().join("other")).operator_key_left_here().unwrap();
    let refused = deployment.read_operator_key(&foreign).unwrap_err();
    assert!(matches!(refused, DeploymentError::ForeignKey { .. }));
    let refused = deployment.read_operator_key(&folder.join("keys/index.key")).unwrap_err();
    assert!(matches!(refused, DeploymentError::WrongPurpose { .. }));
    let forged = temp.path().join("forged.key");
    let id = deployment.description.deployment.id;
    let secret = SecretKey::new(&[9; 32]);
    StoredKey { deployment: id, purpose: KeyPurpose::Operator, version: 1, secret }
        .write_new(&forged)
        .unwrap();
    let refused = deployment.read_operator_key(&forged).unwrap_err();
    assert!(matches!(refused, DeploymentError::UnfitKey { .. }));
}

#[test]
fn what_the_region_wrapped_opens_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    let deployment = made(&folder);
    let context = EncryptionContext {
        deployment: deployment.description().deployment.id,
        purpose: Purpose::BranchKey,
        key: crate::events::ids::BranchKeyId([3; 16]),
    };
    let key = KeyMaterial::new(&[4; 32]);
    let kms = deployment.local_kms();
    let wrapped = now(kms.wrap_key(kms.region(), &key, &context)).unwrap();
    let later = open(&folder).unwrap().local_kms();
    assert_eq!(now(later.unwrap_key(&wrapped, &context)).unwrap().expose(), key.expose());
}
