//! The members of an object: few, small and read in order, so a sorted list and not a tree.

use std::borrow::Cow;

use crate::json::Json;

/// Members of a JSON object, in code point order of their names, each name once.
///
/// Members are few or come all at once: [`Object::insert`] moves what follows, so whoever has
/// many of them collects them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object(Vec<(Name, Json)>);

/// A member's name. Usual ones take no room of their own.
pub(super) type Name = Cow<'static, str>;

/// The name of a member that is read. Usual are those that a document repeats for every target: most of what would
/// be allocated. They are lower case and ASCII.
pub(super) fn intern(name: &str) -> Name {
    match name {
        "custom" => Cow::Borrowed("custom"),
        "hashes" => Cow::Borrowed("hashes"),
        "length" => Cow::Borrowed("length"),
        "sha256" => Cow::Borrowed("sha256"),
        "sha512" => Cow::Borrowed("sha512"),
        other => Cow::Owned(other.to_owned()),
    }
}

/// Among so many members a name is found soonest by looking at each.
const FEW: usize = 4;

/// Whether `known` is `name`. The members of a target's description have names of one length and with different
/// ends: where they differ, this is seen without a call.
pub(crate) fn is_name(known: &str, name: &str) -> bool {
    known.len() == name.len() && known.as_bytes().last() == name.as_bytes().last() && known == name
}

impl Object {
    /// No members.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        if self.0.len() <= FEW {
            return self.0.iter().find(|(known, _)| is_name(known, name)).map(|(_, value)| value);
        }
        let at = self.find(name).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// The values of `names`, which are in order, if the object has these members and no others.
    pub(crate) fn exactly<const N: usize>(&self, names: [&str; N]) -> Option<[&Json; N]> {
        let members: &[(Name, Json); N] = self.0.as_slice().try_into().ok()?;
        let are_these = members.iter().zip(names).all(|((known, _), name)| is_name(known, name));
        are_these.then(|| members.each_ref().map(|(_, value)| value))
    }

    /// The value of a member, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        let at = self.find(name).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// Whether there is such a member.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Sets a member; returns what it was before.
    pub fn insert(&mut self, name: String, value: Json) -> Option<Json> {
        match self.find(&name) {
            Ok(at) => self.0.get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
            Err(at) => {
                self.0.insert(at, (name.into(), value));
                None
            }
        }
    }

    /// Takes a member away.
    pub fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.find(name).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Keeps the members that `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Json) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name, value));
    }

    /// All members.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &Json)> + ExactSizeIterator {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// All names.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// All names but some of lower case letters and digits of ASCII.
    pub(crate) fn unusual_keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(name, _)| match name {
            Name::Owned(name) => Some(&**name),
            Name::Borrowed(_) => None,
        })
    }

    /// All values.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Json> + ExactSizeIterator {
        self.0.iter().map(|(_, value)| value)
    }

    /// All names, without the values.
    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = String> + ExactSizeIterator {
        self.0.into_iter().map(|(name, _)| name.into_owned())
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

/// Members as they are read, in any order. UTF-8 sorts by bytes as by code points.
#[derive(Default)]
pub(super) struct Reading {
    sorted: Object,
    /// Of a long object that is not in order: sorted once, at the end.
    unsorted: Vec<(Name, Json)>,
}

/// Up to so many members are put in their places one by one, whatever their order.
const SHORT: usize = 64;
/// Room for so many members at first. Most objects are descriptions of targets and have no more.
const FIRST: usize = 2;

impl Reading {
    /// Adds a member.
    ///
    /// # Errors
    /// The name, if it is known to be there already.
    pub(super) fn add(&mut self, name: Name, value: Json) -> Result<(), Name> {
        let Self { sorted: Object(sorted), unsorted } = self;
        if sorted.is_empty() {
            sorted.reserve_exact(FIRST);
        }
        let at = match sorted.last() {
            Some((last, _)) if *last >= name => {
                match sorted.binary_search_by(|(known, _)| known.cmp(&name)) {
                    Ok(_) => return Err(name),
                    Err(at) => at,
                }
            }
            _ => sorted.len(),
        };
        if at == sorted.len() {
            sorted.push((name, value));
        } else if sorted.len() < SHORT {
            sorted.insert(at, (name, value));
        } else {
            unsorted.push((name, value));
        }
        Ok(())
    }

    /// The object.
    ///
    /// # Errors
    /// A name that is there twice.
    pub(super) fn finish(self) -> Result<Object, Name> {
        let Self { sorted: Object(mut members), unsorted } = self;
        if unsorted.is_empty() {
            return Ok(Object(members));
        }
        members.extend(unsorted);
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        let names = members.iter().map(|(name, _)| name);
        let twice = names.clone().zip(names.skip(1)).find(|(a, b)| a == b).map(|(name, _)| name.clone());
        twice.map_or(Ok(Object(members)), Err)
    }
}

impl Extend<(String, Json)> for Object {
    /// Sets all these members; of several with one name, the last counts.
    fn extend<I: IntoIterator<Item = (String, Json)>>(&mut self, members: I) {
        self.0.extend(members.into_iter().map(|(name, value)| (Name::from(name), value)));
        if !self.0.is_sorted_by(|(a, _), (b, _)| a < b) {
            self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
            // The first of equals is kept, so the last value moves there.
            self.0.dedup_by(|later, kept| {
                let is_same = later.0 == kept.0;
                if is_same {
                    std::mem::swap(&mut later.1, &mut kept.1);
                }
                is_same
            });
        }
    }
}

impl FromIterator<(String, Json)> for Object {
    /// As [`Object::extend`] does it.
    fn from_iter<I: IntoIterator<Item = (String, Json)>>(members: I) -> Self {
        let mut object = Self::new();
        object.extend(members);
        object
    }
}

impl<const N: usize> From<[(String, Json); N]> for Object {
    fn from(members: [(String, Json); N]) -> Self {
        members.into_iter().collect()
    }
}

impl IntoIterator for Object {
    type Item = (String, Json);
    type IntoIter = std::iter::Map<std::vec::IntoIter<(Name, Json)>, fn((Name, Json)) -> (String, Json)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(name, value)| (name.into_owned(), value))
    }
}

impl<'a> IntoIterator for &'a Object {
    type Item = (&'a str, &'a Json);
    type IntoIter =
        std::iter::Map<std::slice::Iter<'a, (Name, Json)>, fn(&'a (Name, Json)) -> (&'a str, &'a Json)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, number: i64) -> (String, Json) {
        (name.to_owned(), Json::Integer(number))
    }

    #[test]
    fn behaves_like_a_map() {
        let mut object = Object::from([member("b", 1), member("a", 2), member("b", 3), member("a", 4)]);
        assert_eq!(object, [member("a", 4), member("b", 3)].into_iter().collect());
        assert_eq!(object.insert("aa".to_owned(), Json::Null), None);
        assert_eq!(object.insert("a".to_owned(), Json::Null), Some(Json::Integer(4)));
        assert_eq!(object.keys().collect::<Vec<_>>(), ["a", "aa", "b"]);
        assert_eq!(object.remove("aa"), Some(Json::Null));
        assert_eq!((object.remove("aa"), object.len()), (None, 2));
        assert_eq!((object.get("b"), object.get("c")), (Some(&Json::Integer(3)), None));
    }

    fn read(names: impl IntoIterator<Item = String>) -> Result<Object, Name> {
        let mut reading = Reading::default();
        names.into_iter().try_for_each(|name| reading.add(intern(&name), Json::Null))?;
        reading.finish()
    }

    #[test]
    fn a_name_stands_once_wherever_it_stands() {
        for names in [&["a", "a"][..], &["a", "b", "a"], &["c", "b", "a", "b"], &["", ""]] {
            assert!(read(names.iter().map(ToString::to_string)).is_err(), "{names:?}");
        }
        for count in [10, 1_000] {
            let names = || (0..count).map(|number| format!("{:04}", number * 7_919 % count));
            for twice in 0..10 {
                let twice = format!("{:04}", twice * count / 10);
                assert_eq!(read(names().chain([twice.clone()])), Err(twice.clone().into()));
                assert_eq!(read([twice.clone()].into_iter().chain(names())), Err(twice.into()));
            }
        }
    }

    #[test]
    fn members_are_sorted_by_code_point_in_whatever_order_they_come() {
        let object = read(["\u{1f600}", "\u{ff61}", "Z", "a"].map(str::to_owned)).unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), ["Z", "a", "\u{ff61}", "\u{1f600}"]);
        let sorted: Vec<String> = (0..1_000).map(|number| format!("{number:04}")).collect();
        for step in [1, 7, 999] {
            let object = read((0..1_000).map(|number| format!("{:04}", number * step % 1_000))).unwrap();
            assert!(object.keys().eq(&sorted), "{step}");
        }
    }
}
