//! Rows of one job that are about one person, put into one. Two values for one register are a
//! conflict, whichever came first.

use crate::accounts::legacy::GivenHash;
use crate::events::ids::{BlindIndex, UserId};

use super::row::{Fault, Member, Row};

/// Which rows of a group are about one person: those that name one user or identity, or were found
/// to mean one user. Comes back with the places of each person's rows, in order.
pub(super) fn people(rows: &[(&Row, Option<UserId>)]) -> Vec<Vec<usize>> {
    let mut people: Vec<Vec<usize>> = Vec::new();
    for (place, one) in rows.iter().enumerate() {
        let is_same = |other: &usize| rows.get(*other).is_some_and(|other| share(one, other));
        let (with, without): (Vec<_>, Vec<_>) =
            people.into_iter().partition(|them| them.iter().any(is_same));
        people = without;
        let mut them: Vec<usize> = with.concat();
        them.push(place);
        people.push(them);
    }
    for them in &mut people {
        them.sort_unstable();
    }
    people.sort();
    people
}

fn share(one: &(&Row, Option<UserId>), other: &(&Row, Option<UserId>)) -> bool {
    let named = |row: &(&Row, Option<UserId>)| row.0.user.or(row.1);
    let same = |one: Option<BlindIndex>, other| one.is_some() && one == other;
    (named(one).is_some() && named(one) == named(other))
        || same(index(&one.0.email), index(&other.0.email))
        || same(index(&one.0.phone), index(&other.0.phone))
}

fn index(member: &Member<crate::accounts::identity::Identity>) -> Option<BlindIndex> {
    member.given().map(|identity| identity.index)
}

/// One row that asks for what all of them ask for.
pub(super) fn merge(rows: Vec<Row>) -> Result<Row, Fault> {
    // A status and a change of the user's identities count from the row's time, so there can be one
    // only: a row without it would lend it to another's.
    let is_timed = rows.iter().any(|row| row.active.is_some() || row.user.is_some());
    let first = rows.first().and_then(|row| row.changed_at);
    if is_timed && rows.iter().any(|row| row.changed_at != first) {
        return Err(Fault::new("two_values", "changed_at"));
    }
    let mut merged = Row::default();
    for row in rows {
        merged.take(row)?;
    }
    Ok(merged)
}

impl Row {
    fn take(&mut self, row: Self) -> Result<(), Fault> {
        let conflict = |field: &str| Fault::new("two_values", field);
        let same_user = |one: &UserId, other: &UserId| one == other;
        one_of(&mut self.user, row.user, same_user).map_err(|()| conflict("user_id"))?;
        one_identity(&mut self.email, row.email).map_err(|()| conflict("email"))?;
        one_identity(&mut self.phone, row.phone).map_err(|()| conflict("phone"))?;
        // An identity takes another's place where the row that has it says so, and not because
        // another row has the user's id.
        self.changes.extend(row.changes);
        self.email_verified |= row.email_verified;
        self.phone_verified |= row.phone_verified;
        let both = self.hash.is_some() && row.hash.is_some();
        if both && self.hash_changed_at != row.hash_changed_at {
            return Err(conflict("legacy_hash"));
        }
        self.hash_changed_at = self.hash_changed_at.or(row.hash_changed_at);
        self.hash_is_dated |= row.hash_is_dated;
        one_of(&mut self.hash, row.hash, same_hash).map_err(|()| conflict("legacy_hash"))?;
        let both = !self.profile.is_empty() && !row.profile.is_empty();
        if both && self.profile_changed_at != row.profile_changed_at {
            return Err(conflict("profile_changed_at"));
        }
        if self.profile.is_empty() {
            self.profile_changed_at = row.profile_changed_at;
        }
        for (field, value) in row.profile {
            match self.profile.iter().find(|(known, _)| *known == field) {
                Some((_, known)) if *known == value => {}
                Some(_) => return Err(conflict(&format!("profile.{}", field.as_str()))),
                None => self.profile.push((field, value)),
            }
        }
        one_of(&mut self.active, row.active, |one, other| one == other)
            .map_err(|()| conflict("status"))?;
        self.changed_at = self.changed_at.max(row.changed_at);
        Ok(())
    }
}

fn one_of<T>(
    standing: &mut Option<T>,
    given: Option<T>,
    same: impl Fn(&T, &T) -> bool,
) -> Result<(), ()> {
    match (&*standing, given) {
        (Some(one), Some(other)) if !same(one, &other) => Err(()),
        (None, Some(other)) => {
            *standing = Some(other);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn one_identity(
    standing: &mut Member<crate::accounts::identity::Identity>,
    given: Member<crate::accounts::identity::Identity>,
) -> Result<(), ()> {
    match (&*standing, &given) {
        (_, Member::Absent) | (Member::Null, Member::Null) => Ok(()),
        (Member::Absent, _) => {
            *standing = given;
            Ok(())
        }
        (Member::Given(one), Member::Given(other)) if one.index == other.index => Ok(()),
        _ => Err(()),
    }
}

fn same_hash(one: &GivenHash, other: &GivenHash) -> bool {
    let of = |it: &GivenHash| (it.hash.clone(), it.salt.clone(), it.profile.clone());
    of(one) == of(other)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::accounts::identity::Identity;
    use crate::events::ids::IdentityKind;

    fn named(name: &str, changed_at: Option<u64>) -> Row {
        let profile = vec![("nickname".parse().unwrap(), Some(name.into()))];
        Row { profile, profile_changed_at: changed_at, changed_at, ..Row::default() }
    }

    fn active(changed_at: Option<u64>) -> Row {
        Row { active: Some(true), changed_at, ..Row::default() }
    }

    fn phoned(changed_at: Option<u64>) -> Row {
        Row { phone_verified: true, changed_at, ..Row::default() }
    }

    fn numbered(user: Option<u64>, number: &str) -> Row {
        let index = BlindIndex {
            kind: IdentityKind::Phone,
            version: 1,
            mac: crate::events::codec::digest(number.as_bytes()),
        };
        let value = Zeroizing::new(number.to_owned());
        let phone = Member::Given(Identity { kind: IdentityKind::Phone, index, value });
        let user = user.map(|number| UserId::new(number, [0; 10]));
        let changes = user.map(|_| IdentityKind::Phone).into_iter().collect();
        Row { user, phone, changes, ..Row::default() }
    }

    #[test]
    fn a_number_takes_anothers_place_by_the_row_it_is_in_alone() {
        let with_id =
            || Row { phone: Member::Absent, changes: Vec::new(), ..numbered(Some(1), "") };
        let changes = |rows| both(rows, |merged| !merged.unwrap().changes.is_empty());
        assert!(!changes([with_id, || numbered(None, "+1")]));
        assert!(changes([with_id, || numbered(Some(1), "+1")]));
        assert!(changes([|| numbered(None, "+1"), || numbered(Some(1), "+1")]));
    }

    /// The same in both orders.
    fn both<T: PartialEq + std::fmt::Debug>(
        rows: [fn() -> Row; 2],
        of: impl Fn(Result<Row, Fault>) -> T,
    ) -> T {
        let [one, other] = rows;
        let merged = of(merge(vec![one(), other()]));
        assert_eq!(of(merge(vec![other(), one()])), merged);
        merged
    }

    #[test]
    fn a_part_has_the_time_of_the_row_it_came_with_and_no_other() {
        let time = |rows| both(rows, |merged| merged.unwrap().profile_changed_at);
        assert_eq!(time([|| named("Ada", None), || phoned(Some(7))]), None);
        assert_eq!(time([|| named("Ada", Some(5)), || phoned(None)]), Some(5));
    }

    #[test]
    fn what_counts_from_a_rows_time_has_one_or_is_a_conflict() {
        let field = |rows| both(rows, |merged| merged.err().and_then(|fault| fault.field));
        let conflict = Some("changed_at".to_owned());
        assert_eq!(field([|| active(None), || named("Ada", Some(7))]), conflict);
        assert_eq!(field([|| active(Some(5)), || phoned(Some(7))]), conflict);
        assert_eq!(field([|| active(Some(7)), || named("Ada", Some(7))]), None);
        let conflict = Some("profile_changed_at".to_owned());
        assert_eq!(field([|| named("Ada", Some(5)), || named("Ada", Some(7))]), conflict);
    }
}
