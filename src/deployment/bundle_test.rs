//! A bundle brings what its node needs and nothing else, to its owner alone, whole or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::bundle::join;
use super::fixture::{
    KEY_FILES, counting, files_of_joined, made, made_with, mode, names, now, options,
};
use super::*;
use crate::events::ids::BranchKeyId;
use crate::kms::{EncryptionContext, KeyMaterial, Kms as _, KmsError, Purpose};

fn joined(bundle: &Path, folder: &Path) -> Deployment {
    join(bundle, folder, &mut getrandom::fill).unwrap()
}

fn refused(bundle: &Path, folder: &Path) -> DeploymentError {
    join(bundle, folder, &mut getrandom::fill).unwrap_err()
}

#[test]
fn nodes_of_two_regions_join_with_the_bundles_of_the_first() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let first = made_with(&at("west-1"), &["west/n2", "east/n1", "east/n2"]);
    let bundles = first.bundles_left_here();
    let listed = names(&at("west-1/bundles"));
    assert_eq!(Vec::from_iter(&listed), ["east.n1.bundle", "east.n2.bundle", "west.n2.bundle"]);
    assert_eq!(mode(&at("west-1/bundles")), 0o700);
    for bundle in bundles {
        assert_eq!(mode(bundle), 0o600);
    }
    let east = joined(&bundles[0], &at("east-1"));
    let east_2 = joined(&bundles[1], &at("east-2"));
    let west_2 = joined(&bundles[2], &at("west-2"));
    for (node, name) in [(&east, "east/n1"), (&east_2, "east/n2"), (&west_2, "west/n2")] {
        assert_eq!(node.description().node_name().to_string(), name);
        assert_eq!(node.description().deployment, first.description().deployment);
        assert_eq!(node.index_key().expose(), first.index_key().expose());
        assert_eq!(node.operator_key_left_here(), None);
        assert!(node.bundles_left_here().is_empty());
        assert_eq!(names(node.folder()), files_of_joined());
        let keys: BTreeSet<_> = KEY_FILES.map(str::to_owned).into();
        assert_eq!(names(&node.folder().join("keys")), keys);
    }
    let signing = |node: &Deployment| *node.region_signing_seed().expose();
    assert_eq!(signing(&west_2), signing(&first));
    assert_eq!(signing(&east_2), signing(&east));
    assert_ne!(signing(&east), signing(&first));
    let named: Vec<_> = first.verifying_keys().map(|(region, _)| region.to_string()).collect();
    assert_eq!(named, ["east", "west"]);
    for region in ["east", "west"].map(|name| name.parse().unwrap()) {
        assert_eq!(first.verifying_key(region), east.verifying_key(region));
    }
    let own = VerifyingKey::of_seed(&signing(&east));
    assert_eq!(first.verifying_key("east".parse().unwrap()), Some(own));
    assert_eq!(first.verifying_key("south".parse().unwrap()), None);
}

#[test]
fn what_one_region_wraps_for_another_opens_on_every_node_of_that_one_only() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let west = made_with(&at("west"), &["east/n1", "east/n2"]);
    let [one, two] = [0, 1].map(|index| {
        joined(&west.bundles_left_here()[index], &at(&format!("east-{index}"))).local_kms()
    });
    let context = EncryptionContext {
        deployment: west.id(),
        purpose: Purpose::BranchKey,
        key: BranchKeyId([3; 16]),
    };
    let key = KeyMaterial::new(&[4; 32]);
    let kms = west.local_kms();
    let wrapped = now(kms.wrap_key("east".parse().unwrap(), &key, &context)).unwrap();
    for east in [one, two] {
        assert_eq!(now(east.unwrap_key(&wrapped, &context)).unwrap().expose(), key.expose());
    }
    assert!(matches!(now(kms.unwrap_key(&wrapped, &context)), Err(KmsError::Malformed)));
}

#[test]
fn a_bundle_holds_no_secret_of_another_region_and_not_the_operators() {
    let temp = tempfile::tempdir().unwrap();
    let west = made_with(&temp.path().join("west"), &["east/n1", "west/n2"]);
    let operator = west.read_operator_key(&west.operator_key_left_here().unwrap()).unwrap();
    let [east, west_2] = [0, 1].map(|index| fs::read(&west.bundles_left_here()[index]).unwrap());
    let holds = |bundle: &[u8], secret: &SecretKey| {
        bundle.windows(32).any(|window| window == secret.expose())
            || String::from_utf8_lossy(bundle).contains(&hex::encode(secret.expose()))
    };
    for secret in [&west.secrets.region_wrapping, &west.secrets.region_signing] {
        assert!(!holds(&east, secret));
        assert!(holds(&west_2, secret), "the search finds nothing anywhere");
    }
    assert!(holds(&east, west.index_key()));
    assert!(!holds(&east, &operator) && !holds(&west_2, &operator));
}

#[test]
fn a_node_makes_bundles_for_its_own_region_and_for_no_name_twice() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let first = made(&at("west"));
    let path = first.write_bundle("n2".parse().unwrap(), &at("out")).unwrap();
    assert_eq!(path, at("out/west.n2.bundle"));
    assert_eq!((mode(&at("out")), mode(&path)), (0o700, 0o600));
    let second = joined(&path, &at("west-2"));
    // And that one makes more.
    let path = second.write_bundle("n3".parse().unwrap(), &at("out")).unwrap();
    joined(&path, &at("west-3"));
    let again = second.write_bundle("n3".parse().unwrap(), &at("out")).unwrap_err();
    assert!(again.to_string().contains("west.n3.bundle"), "{again}");
    let own = first.write_bundle("n1".parse().unwrap(), &at("out")).unwrap_err();
    assert!(own.to_string().contains("there is a node west/n1 already"), "{own}");
    for further in [["east/n1", "east/n1"], ["east/n1", "west/n1"]] {
        let further = further.map(|name| name.parse().unwrap()).to_vec();
        let options = InitOptions { further, ..options() };
        let twice = init(&at("twice"), &options, &mut getrandom::fill).unwrap_err();
        assert!(matches!(twice, DeploymentError::NameTaken { .. }), "{twice}");
        assert!(!at("twice").exists());
    }
}

#[test]
fn a_bundle_that_others_may_touch_is_refused_with_its_mode() {
    let temp = tempfile::tempdir().unwrap();
    let west = made_with(&temp.path().join("west"), &["east/n1"]);
    let (bundle, folder) = (&west.bundles_left_here()[0], temp.path().join("east"));
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
        fs::set_permissions(bundle, fs::Permissions::from_mode(mode)).unwrap();
        let refused = refused(bundle, &folder);
        assert!(
            matches!(&refused, DeploymentError::Exposed { mode: named, .. } if *named == mode),
            "{refused}"
        );
        assert!(!folder.exists());
    }
    fs::set_permissions(bundle, fs::Permissions::from_mode(0o600)).unwrap();
    joined(bundle, &folder);
}

#[test]
fn every_changed_byte_and_every_other_length_of_a_bundle_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let west = made_with(&temp.path().join("west"), &["east/n1"]);
    let (bundle, folder) = (&west.bundles_left_here()[0], temp.path().join("east"));
    let whole = fs::read(bundle).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(bundle, changed).unwrap();
        let refused = refused(bundle, &folder);
        let newer = at == 8 && matches!(refused, DeploymentError::Newer { .. });
        let damaged = matches!(refused, DeploymentError::DamagedBundle { .. });
        assert!(newer || damaged, "byte {at}: {refused}");
    }
    for len in (0..whole.len()).step_by(3) {
        fs::write(bundle, &whole[..len]).unwrap();
        let refused = refused(bundle, &folder);
        assert!(matches!(refused, DeploymentError::DamagedBundle { .. }), "{len}: {refused}");
    }
    fs::write(bundle, [&whole[..], &[0]].concat()).unwrap();
    assert!(matches!(refused(bundle, &folder), DeploymentError::DamagedBundle { .. }));
    assert!(!folder.exists());
    fs::write(bundle, whole).unwrap();
    joined(bundle, &folder);
}

#[test]
fn a_bundle_of_keys_that_it_does_not_describe_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let west = made_with(&temp.path().join("west"), &["east/n1", "west/n2"]);
    let east = joined(&west.bundles_left_here()[0], &temp.path().join("east"));
    // East's keys under west's name: whoever puts that together would sign for nobody.
    let mixed = Bundle { description: west.description.clone(), secrets: east.secrets };
    let path = mixed.write_into(&temp.path().join("mixed")).unwrap();
    let refused = refused(&path, &temp.path().join("data"));
    assert!(matches!(refused, DeploymentError::DamagedBundle { .. }), "{refused}");
}

#[test]
fn a_bundle_of_a_newer_version_is_named_as_such() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("later.bundle");
    file::write_new(&path, b"JCAS-BDL\x02?").unwrap();
    let refused = refused(&path, &temp.path().join("data"));
    assert!(matches!(refused, DeploymentError::Newer { found: 2, known: 1, .. }), "{refused}");
}

#[test]
fn a_folder_of_another_deployment_is_refused_and_both_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let west = made_with(&at("west"), &["east/n1"]);
    let other = InitOptions { name: "wholesale".parse().unwrap(), ..options() };
    let other = init(&at("other"), &other, &mut getrandom::fill).unwrap();
    let bundle = &west.bundles_left_here()[0];
    let foreign = refused(bundle, &at("other"));
    assert!(matches!(foreign, DeploymentError::ForeignBundle { .. }));
    for deployment in [&west, &other] {
        let named = deployment.named().to_string();
        assert!(named.contains(&deployment.id().to_string()));
        assert!(foreign.to_string().contains(&named), "{foreign}");
    }
    // Nor is a node of the same deployment put on top of another.
    let exists = refused(bundle, &at("west"));
    assert!(matches!(exists, DeploymentError::Exists { .. }), "{exists}");
    fs::create_dir(at("letters")).unwrap();
    fs::write(at("letters/letter"), "dear").unwrap();
    assert!(matches!(refused(bundle, &at("letters")), DeploymentError::NotEmpty { .. }));
    let none = refused(&at("none.bundle"), &at("east"));
    assert!(none.to_string().contains("jcas bundle"), "{none}");
}

#[test]
fn where_joining_fails_nothing_is_left_behind() {
    let temp = tempfile::tempdir().unwrap();
    let west = made_with(&temp.path().join("west"), &["east/n1"]);
    let before = names(temp.path());
    let folder = temp.path().join("east");
    let mut failing = |_: &mut [u8]| Err(getrandom::Error::UNSUPPORTED);
    let refused = join(&west.bundles_left_here()[0], &folder, &mut failing).unwrap_err();
    assert!(matches!(refused, DeploymentError::Randomness(_)), "{refused}");
    assert_eq!(names(temp.path()), before);
}

#[test]
fn the_format_stays_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    let options = InitOptions { further: vec!["east/n1".parse().unwrap()], ..options() };
    let west = init(&folder, &options, &mut counting(0)).unwrap();
    let bytes = fs::read(&west.bundles_left_here()[0]).unwrap();
    let region = "east".parse().unwrap();
    let document = Description { region, ..west.description().clone() }.encode().unwrap();
    let (head, rest) = bytes.split_at(13);
    assert_eq!(head[..9], *b"JCAS-BDL\x01");
    assert_eq!(head[9..], u32::try_from(document.len()).unwrap().to_be_bytes());
    let (described, rest) = rest.split_at(document.len());
    assert_eq!(described, document);
    // The keys are drawn after id, operator key, index key and the first region's two.
    let secret = |first: u8| (0..32).map(|at| first + at).collect::<Vec<u8>>();
    for (index, (purpose, first)) in [(1, 0x31), (2, 0x91), (3, 0xb1)].into_iter().enumerate() {
        let key = &rest[index * 64..][..64];
        assert_eq!(key[..10], [&b"JCAS-KEY\x01"[..], &[purpose]].concat());
        assert_eq!(key[28..60], secret(first), "key {purpose}");
    }
    assert_eq!(rest.len(), 3 * 64 + 4);
}
