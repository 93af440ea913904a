//! The description is taken as it was written and signed, or not at all; both formats stay.

use std::fs;

use super::description::RegionKeys;
use super::fixture::{counting, made, options};
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
            matches!(refused, Err(DeploymentError::Damaged { .. } | DeploymentError::Newer { .. })),
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
fn what_the_operator_did_not_sign_is_not_taken_even_with_a_right_check_sum() {
    let temp = tempfile::tempdir().unwrap();
    let (ours, theirs) = (made(&temp.path().join("data")), made(&temp.path().join("other")));
    let forge = |change: &dyn Fn(&mut Description)| {
        let folder = tempfile::tempdir().unwrap();
        let mut forged = ours.description.clone();
        change(&mut forged);
        forged.write_new(folder.path()).unwrap();
        Description::read(folder.path()).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(forge(&|_| {}), Ok(()));
    let stranger = theirs.description.deployment.regions[0].clone();
    let south = RegionKeys { region: "zouth".parse().unwrap(), ..stranger };
    for change in [
        &|it: &mut Description| it.deployment.version += 1,
        &|it: &mut Description| it.deployment.regions[0].retired = true,
        &|it: &mut Description| it.deployment.regions.push(south.clone()),
        &|it: &mut Description| it.deployment.name = "other".parse().unwrap(),
        &|it: &mut Description| it.signature = theirs.description.signature,
    ] as [&dyn Fn(&mut Description); 5]
    {
        let refused = forge(change).unwrap_err();
        assert!(refused.contains("the operator key did not sign it"), "{refused}");
    }
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
    let first = made(&temp.path().join("data"));
    let operator = first.read_operator_key(&first.operator_key_left_here().unwrap()).unwrap();
    let whole = first.description;
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
        description.signature = description.deployment.sign(&operator).unwrap();
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
    "version": 1,
    "shards": 64,
    "index_key_version": 1,
    "operator_key": "ed54a59fb1ac3a51239351362941b868e85a60e3d7b2485d828821dc7a69c279",
    "regions": [
      {
        "region": "west",
        "wrapping_key": "b45e421d8aa5aaf3a7102710702d8a0178b24592ee7dd1b527fce0aff92bb60d",
        "signing_key": "11d624e49226d43c8c28e937f362640aaec1e00215fd6534b461118059220a5b",
        "retired": false
      }
    ]
  },
  "signature": "SIGNATURE",
  "region": "west",
  "node": "n1",
  "checksum": "3516a999"
}
"#;

/// What the operator key of the same deployment signs, as another implementation computed it.
const GOLDEN_SIGNATURE: &str = concat!(
    "8ad0c0f975fb7d875bbf8e22fd964b634ab0b8279ddac688c12432595cf4e2a8",
    "2027a32e2220994e16a67d506a965b04a7b2268b40272c04205faf0377e90702",
);

/// The index key of the same deployment.
const GOLDEN_KEY: &str = concat!(
    "4a4341532d4b4559010100010102030405060708090a0b0c0d0e0f103132333435363738393a3b3c",
    "3d3e3f404142434445464748494a4b4c4d4e4f50104ffcdc",
);

#[test]
fn both_formats_stay_as_they_were_to_the_byte() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("data");
    init(&folder, &options(), &mut counting(0)).unwrap();
    let golden = GOLDEN.replace("SIGNATURE", GOLDEN_SIGNATURE);
    assert_eq!(fs::read_to_string(folder.join("deployment.json")).unwrap(), golden);
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
