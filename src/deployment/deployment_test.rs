//! A deployment is made whole or not at all, and only its own, private, undamaged files open it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::kms::{EncryptionContext, KeyMaterial, Kms as _, KmsError, Purpose};

/// Different bytes at every draw, the same in every run.
fn counting(start: u8) -> impl FnMut(&mut [u8]) -> Result<(), getrandom::Error> {
    let mut next = start;
    move |bytes| {
        bytes.fill_with(|| {
            next = next.wrapping_add(1);
            next
        });
        Ok(())
    }
}

fn options() -> InitOptions {
    InitOptions {
        name: "retail".parse().unwrap(),
        region: "west".parse().unwrap(),
        node: "n1".parse().unwrap(),
    }
}

fn made(folder: &Path) -> Deployment {
    init(folder, options(), &mut getrandom::fill).unwrap()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

const KEY_FILES: [&str; 3] = ["index.key", "region-wrapping.key", "region-signing.key"];

mod making {
    use super::*;

    #[test]
    fn a_new_deployment_opens_as_it_was_made() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("data");
        let first = made(&folder);
        let again = open(&folder).unwrap();
        assert_eq!(again.description(), first.description());
        assert_eq!(again.index_key().version, 1);
        assert_eq!(again.index_key().secret.expose(), first.index_key().secret.expose());
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
            *deployment.index_key.secret.expose(),
            *deployment.region_wrapping.expose(),
            *deployment.region_signing.expose(),
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
        for secret in
            [&deployment.index_key.secret, &deployment.region_wrapping, &deployment.region_signing]
        {
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
        let refused = init(&folder, options(), &mut getrandom::fill).unwrap_err();
        assert!(matches!(refused, DeploymentError::Exists { .. }));
        assert!(
            refused.to_string().contains("already holds the deployment retail, node west/n1"),
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
        let refused = init(&folder, options(), &mut getrandom::fill).unwrap_err();
        assert!(matches!(refused, DeploymentError::Damaged { .. }));
        assert_eq!(names(&folder.join("keys")).len(), 4);
    }

    #[test]
    fn somebody_elses_files_are_never_touched() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("letter"), "dear").unwrap();
        let refused = init(temp.path(), options(), &mut getrandom::fill).unwrap_err();
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
            let refused = init(&folder, options(), &mut failing).unwrap_err();
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
        let refused = init(&folder, options(), &mut interrupted).unwrap_err();
        assert!(matches!(refused, DeploymentError::Exists { .. }), "{refused}");
        assert_eq!(names(temp.path()), BTreeSet::from(["data".into()]));
        open(&folder).unwrap();
    }
}

mod opening {
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
            assert!(
                matches!(open(&folder), Err(DeploymentError::UnfitKey { path: at }) if at == path)
            );
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
}

mod describing {
    use super::*;

    #[test]
    fn a_changed_character_of_the_description_is_never_taken() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("data");
        let description = made(&folder).description;
        let path = folder.join("deployment.json");
        let text = fs::read_to_string(&path).unwrap();
        for (at, was) in text.char_indices() {
            // White space means nothing, and so do the cases of hex digits.
            if was.is_whitespace() {
                continue;
            }
            let now = if was == '3' { "4" } else { "3" };
            let mut changed = text.clone();
            changed.replace_range(at..=at, now);
            fs::write(&path, changed).unwrap();
            let refused = open(&folder).map(|_| ());
            assert!(
                matches!(
                    refused,
                    Err(DeploymentError::Damaged { .. } | DeploymentError::Newer { .. })
                ),
                "{was} at {at} was taken for {now}: {refused:?}"
            );
        }
        for len in (0..text.trim_end().len()).step_by(7) {
            fs::write(&path, &text[..len]).unwrap();
            assert!(matches!(open(&folder), Err(DeploymentError::Damaged { .. })), "{len}");
        }
        fs::write(&path, text).unwrap();
        assert_eq!(open(&folder).unwrap().description, description);
    }

    #[test]
    fn a_field_nobody_knows_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("data");
        made(&folder);
        let path = folder.join("deployment.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen('{', r#"{"more": 1,"#, 1)).unwrap();
        assert!(matches!(open(&folder), Err(DeploymentError::Damaged { .. })));
    }

    #[test]
    fn regions_are_sorted_and_hold_the_nodes_own() {
        let temp = tempfile::tempdir().unwrap();
        let whole = made(&temp.path().join("data")).description;
        let own = whole.deployment.regions[0].clone();
        let named = |name: &str| RegionKeys { region: name.parse().unwrap(), ..own.clone() };
        let regions = [
            (vec![], false),
            (vec![named("east")], false),
            (vec![named("west"), named("east")], false),
            (vec![named("west"), named("west")], false),
            (vec![named("east"), named("west")], true),
        ];
        for (index, (regions, taken)) in regions.into_iter().enumerate() {
            let folder = temp.path().join(index.to_string());
            fs::create_dir(&folder).unwrap();
            let mut description = whole.clone();
            description.deployment.regions = regions;
            description.write_new(&folder).unwrap();
            assert_eq!(Description::read(&folder).is_ok(), taken, "case {index}");
        }
    }

    /// Written by format 1 with the randomness 01 02 03 ..; it is read for ever.
    const GOLDEN: &str = r#"{
  "format": 1,
  "deployment": {
    "id": "0102030405060708090a0b0c0d0e0f10",
    "name": "retail",
    "shards": 64,
    "index_key_version": 1,
    "operator_key": "ed54a59fb1ac3a51239351362941b868e85a60e3d7b2485d828821dc7a69c279",
    "regions": [
      {
        "region": "west",
        "wrapping_key": "b45e421d8aa5aaf3a7102710702d8a0178b24592ee7dd1b527fce0aff92bb60d",
        "signing_key": "11d624e49226d43c8c28e937f362640aaec1e00215fd6534b461118059220a5b"
      }
    ]
  },
  "region": "west",
  "node": "n1",
  "checksum": "8f647f7e"
}
"#;

    /// The index key of the same deployment.
    const GOLDEN_KEY: &str = concat!(
        "4a4341532d4b4559010100010102030405060708090a0b0c0d0e0f103132333435363738393a3b3c",
        "3d3e3f404142434445464748494a4b4c4d4e4f50104ffcdc",
    );

    #[test]
    fn both_formats_stay_as_they_were_to_the_byte() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("data");
        init(&folder, options(), &mut counting(0)).unwrap();
        assert_eq!(fs::read_to_string(folder.join("deployment.json")).unwrap(), GOLDEN);
        let key = fs::read(folder.join("keys/index.key")).unwrap();
        assert_eq!(hex::encode(key), GOLDEN_KEY);
    }

    #[test]
    fn names_and_verifying_keys_refuse_what_could_be_mistaken() {
        for wrong in ["", "-a", "A", "a b", "ä", "a/b", &"a".repeat(33)] {
            assert!(wrong.parse::<DeploymentName>().is_err(), "{wrong:?} was taken");
        }
        assert_eq!("shop-1_x".parse::<DeploymentName>().unwrap().to_string(), "shop-1_x");
        // The neutral point: it would verify a signature over anything.
        let weak = format!("01{}", "00".repeat(31));
        for wrong in ["", "00", &weak, &"zz".repeat(32)] {
            assert!(wrong.parse::<VerifyingKey>().is_err(), "{wrong:?} was taken");
        }
        let key = VerifyingKey::of_seed(&[1; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(VerifyingKey::from_bytes(key.as_bytes()), Ok(key));
    }
}

mod keys {
    use std::task::{Context, Poll, Waker};

    use super::*;

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

    fn now<T>(mut future: crate::kms::KmsFuture<'_, T>) -> Result<T, KmsError> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("the local KMS waits for nothing"),
        }
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
}
