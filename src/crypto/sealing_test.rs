//! Tests of `sealing`: the format pinned, every bit and every part of the context counted.

use proptest::prelude::*;

use super::*;

const CONTEXT: Context<'static> =
    Context { deployment: [1; 16], subject: [2; 16], register: b"secret", profile: None };

fn user_key() -> UserKey {
    UserKey::from_bytes([7; 32])
}

fn branch_key() -> BranchKey {
    BranchKey::from_bytes([9; 32])
}

/// Made once; whoever changes them makes every stored value unreadable.
mod known_answers {
    use super::*;

    const SALT: [u8; 16] = [5; 16];
    const USER_SEALED: &str = "01e6c6152cfb52e2e70505050505050505050505050505050516869e8770b1540285\
        2e3d9b806a7b100f68c688e53071632ff36f8ebf5d137b88771d0459a1fe4e9af773\
        c3ae7e23da";
    const KEY_WRAPPED: &str = "02b7a13bcad31919e408cebfa010efd6c205050505050505050505050505050505c4\
        91294962e8715df01c6b44419079b01d85cad5fe5008681d1bbcb7648f5acc5f5e57\
        3b71671e66bf23652cc5fad20189d9f4a8cf621f2f29ad67aac35c592a102c2fa441\
        537b6d91d815d370cc7b96";
    const BRANCH_SEALED: &str = "03b7a13bcad31919e408cebfa010efd6c2050505050505050505050505050505\
        0509b46e16597219e50c499f4cbf0ea83aaac2e6f73077bbaa9e2106b168e71adb\
        065cc8f0d281326e5f2ff59334f38ba3";

    #[test]
    fn user_value() {
        let key = user_key();
        let sealed = USER_VALUE.seal_with_salt(&key.secret, key.id, &CONTEXT, b"clear", &SALT);
        assert_eq!(hex::encode(&sealed), USER_SEALED);
        assert_eq!(open(&key, &CONTEXT, &sealed).unwrap().as_slice(), b"clear");
    }

    #[test]
    fn wrapped_key() {
        let branch = branch_key();
        let secret = [7; 32];
        let wrapped =
            WRAPPED_KEY.seal_with_salt(&branch.secret, branch.id, &CONTEXT, &secret, &SALT);
        assert_eq!(hex::encode(&wrapped), KEY_WRAPPED);
        assert_eq!(branch.unwrap_user_key(&CONTEXT, &wrapped).unwrap().id(), user_key().id());
    }

    #[test]
    fn branch_value() {
        let branch = branch_key();
        let context = Context { profile: Some([3; 16]), ..CONTEXT };
        let sealed =
            BRANCH_VALUE.seal_with_salt(&branch.secret, branch.id, &context, b"pepper", &SALT);
        assert_eq!(hex::encode(&sealed), BRANCH_SEALED);
        assert_eq!(branch.open(&context, &sealed).unwrap().as_slice(), b"pepper");
    }

    #[test]
    fn names_and_fingerprint() {
        assert_eq!(hex::encode(user_key().id()), "e6c6152cfb52e2e7");
        assert_eq!(hex::encode(branch_key().id()), "b7a13bcad31919e408cebfa010efd6c2");
        assert_eq!(
            hex::encode(fingerprint(&user_key(), b"secret", b"clear")),
            "005f5b6c1b1743d8d7b97e6d1d1ac0f7"
        );
    }
}

#[test]
fn every_write_has_its_own_keys() {
    let first = seal(&user_key(), &CONTEXT, b"clear").unwrap();
    let second = seal(&user_key(), &CONTEXT, b"clear").unwrap();
    assert_ne!(first, second);
    assert_eq!(first[..9], second[..9]);
    assert_ne!(first[25..41], second[25..41]);
}

#[test]
fn a_sealed_value_names_its_key() {
    let sealed = seal(&user_key(), &CONTEXT, b"").unwrap();
    assert_eq!(key_of(&sealed), Some(user_key().id()));
    assert_eq!(branch_of(&sealed), None);
    let wrapped = branch_key().wrap(&CONTEXT, &user_key()).unwrap();
    assert_eq!(branch_of(&wrapped), Some(branch_key().id()));
    assert_eq!(key_of(&wrapped), None);
    assert_eq!(branch_of(&branch_key().seal(&CONTEXT, b"").unwrap()), Some(branch_key().id()));
    assert_eq!(key_of(b""), None);
}

#[test]
fn no_single_bit_may_flip() {
    let key = user_key();
    let sealed = seal(&key, &CONTEXT, b"a clear value of more than a block").unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut damaged = sealed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&key, &CONTEXT, &damaged).unwrap_err(), OpenError, "bit {bit}");
    }
}

#[test]
fn nothing_cut_or_lengthened_opens() {
    let key = user_key();
    let sealed = seal(&key, &CONTEXT, &[0; 40]).unwrap();
    for end in 0..sealed.len() {
        assert!(open(&key, &CONTEXT, &sealed[..end]).is_err(), "cut to {end}");
        assert!(open(&key, &CONTEXT, &sealed[end + 1..]).is_err(), "without its first {end}");
    }
    let longer = [sealed.as_slice(), &[0; 16]].concat();
    assert!(open(&key, &CONTEXT, &longer).is_err());
}

#[test]
fn every_part_of_the_context_counts() {
    let key = user_key();
    let base = Context { profile: Some([3; 16]), ..CONTEXT };
    let sealed = seal(&key, &base, b"clear").unwrap();
    let others = [
        Context { deployment: [0; 16], ..base },
        Context { subject: [0; 16], ..base },
        Context { register: b"secre", ..base },
        Context { register: b"", ..base },
        Context { profile: Some([4; 16]), ..base },
        Context { profile: None, ..base },
    ];
    for other in others {
        assert_eq!(open(&key, &other, &sealed).unwrap_err(), OpenError);
    }
    assert!(open(&key, &base, &sealed).is_ok());
}

#[test]
fn another_key_does_not_open_even_under_the_same_name() {
    let key = user_key();
    let sealed = seal(&key, &CONTEXT, b"clear").unwrap();
    let mut impostor = UserKey::from_bytes([8; 32]);
    assert!(open(&impostor, &CONTEXT, &sealed).is_err());
    impostor.id = key.id;
    assert!(open(&impostor, &CONTEXT, &sealed).is_err());
}

/// The same secret, id and context under another form: only version and domain differ.
#[test]
fn forms_cannot_be_swapped() {
    let branch = branch_key();
    let mut wrapped = branch.wrap(&CONTEXT, &user_key()).unwrap();
    assert!(branch.open(&CONTEXT, &wrapped).is_err());
    wrapped[0] = BRANCH_VALUE.version;
    assert!(branch.open(&CONTEXT, &wrapped).is_err());

    let mut sealed = branch.seal(&CONTEXT, &[7; 32]).unwrap();
    assert!(branch.unwrap_user_key(&CONTEXT, &sealed).is_err());
    sealed[0] = WRAPPED_KEY.version;
    assert!(branch.unwrap_user_key(&CONTEXT, &sealed).is_err());
}

#[test]
fn the_size_is_bounded_both_ways() {
    let key = user_key();
    let longest = vec![1; MAX_CLEAR_BYTES];
    let sealed = seal(&key, &CONTEXT, &longest).unwrap();
    assert_eq!(open(&key, &CONTEXT, &sealed).unwrap().as_slice(), longest);
    let longer = vec![1; MAX_CLEAR_BYTES + 1];
    assert!(matches!(seal(&key, &CONTEXT, &longer), Err(SealError::TooLong)));
    let too_long = vec![1; MAX_CLEAR_BYTES + BLOCK_BYTES];
    let sealed = USER_VALUE.seal_with_salt(&key.secret, key.id, &CONTEXT, &too_long, &[0; 16]);
    assert!(open(&key, &CONTEXT, &sealed).is_err());
}

#[test]
fn fingerprints_tell_equal_values_only_within_key_and_register() {
    let base = fingerprint(&user_key(), b"email", b"ada@example.com");
    assert_eq!(base, fingerprint(&user_key(), b"email", b"ada@example.com"));
    assert_ne!(base, fingerprint(&user_key(), b"email", b"ida@example.com"));
    assert_ne!(base, fingerprint(&user_key(), b"phone", b"ada@example.com"));
    assert_ne!(base, fingerprint(&UserKey::from_bytes([8; 32]), b"email", b"ada@example.com"));
}

#[test]
fn fresh_keys_differ_and_debug_shows_the_name_only() {
    let key = UserKey::generate().unwrap();
    assert_ne!(key.id(), UserKey::generate().unwrap().id());
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("UserKey({}, [redacted])", hex::encode(key.id())));
}

proptest! {
    #[test]
    fn what_is_sealed_opens(clear in proptest::collection::vec(any::<u8>(), 0..300)) {
        let sealed = seal(&user_key(), &CONTEXT, &clear).unwrap();
        let opened = open(&user_key(), &CONTEXT, &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), clear);
    }

    #[test]
    fn garbage_never_opens(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(open(&user_key(), &CONTEXT, &bytes).is_err());
    }
}
