//! Numbers for places in the source: small enough to share an atomic word with other data.

use crate::sync::{Global, ambient};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::Location;

pub(crate) type Place = &'static Location<'static>;

static PLACES: Global<Places> = Global::new(Places { numbers: BTreeMap::new(), all: Vec::new() });

/// The places that have a number. The place with the number `n` is at `n - 1`.
struct Places {
    /// By address: two copies of one place have a number each, which does no harm.
    numbers: BTreeMap<usize, u16>,
    all: Vec<Place>,
}

/// The number of places that a thread caches.
const REMEMBERED: usize = 32;

ambient! {
    /// The address of a place and its number, in a cell that is computed from the address. A later place replaces
    /// an earlier one in the same cell.
    static SEEN: [Cell<(usize, u16)>; REMEMBERED] = [const { Cell::new((0, 0)) }; REMEMBERED];
}

/// The number of `place`; 0 if there are too many places for a number, so that a caller needs more than
/// one word.
#[inline]
pub(crate) fn number(place: Place) -> u16 {
    let address = std::ptr::from_ref(place).addr();
    let (known, number) = SEEN.try_with(|seen| seen[seen_at(address)].get()).unwrap_or_default();
    if known == address { number } else { number_anew(address, place) }
}

/// Places are three words long.
fn seen_at(address: usize) -> usize {
    (address / size_of::<usize>()) % REMEMBERED
}

#[cold]
fn number_anew(address: usize, place: Place) -> u16 {
    let number = PLACES.write().number(address, place).unwrap_or(0);
    let _ = SEEN.try_with(|seen| seen[seen_at(address)].set((address, number)));
    number
}

impl Places {
    /// `None` if the number would be too large.
    fn number(&mut self, address: usize, place: Place) -> Option<u16> {
        if let Some(number) = self.numbers.get(&address) {
            return Some(*number);
        }
        let number = u16::try_from(self.all.len() + 1).ok()?;
        self.all.push(place);
        self.numbers.insert(address, number);
        Some(number)
    }
}

/// The place that has this number.
pub(crate) fn place(number: u16) -> Option<Place> {
    PLACES.read().all.get(usize::from(number).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use crate::places::{number, place};
    use std::panic::Location;

    #[track_caller]
    fn here() -> &'static Location<'static> {
        Location::caller()
    }

    #[test]
    fn a_place_has_one_number_on_every_thread_and_two_places_have_two() {
        let (one, two) = (here(), here());
        let numbers = (number(one), number(two));
        assert!(numbers.0 != numbers.1 && numbers.0 != 0 && numbers.1 != 0);
        assert_eq!((number(one), number(two)), numbers);
        let elsewhere = std::thread::spawn(move || (number(one), number(two)));
        assert_eq!(elsewhere.join().unwrap(), numbers);
        assert_eq!((place(numbers.0), place(numbers.1)), (Some(one), Some(two)));
        assert_eq!(place(0), None);
    }
}
