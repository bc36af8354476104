//! Finding records by any of their names, and what a misspelt name may have meant.

use alloc::{vec, vec::Vec};

use crate::normal_form::{MAX_LENGTH, NormalForm};

/// Normal forms of names in ascending order, each with the position of its record.
pub type Index = [(&'static str, u16)];

/// Position of the record of that name.
#[must_use]
pub fn find(index: &Index, name: &str) -> Option<usize> {
    let wanted = NormalForm::of(name)?;
    let at = index.binary_search_by(|(key, _)| key.as_bytes().cmp(wanted.as_bytes())).ok()?;
    index.get(at).map(|&(_, record)| usize::from(record))
}

/// Scores from here on are of names that do not begin with the given one.
const UNFINISHED: usize = MAX_LENGTH;

/// Positions of the records whose names are nearest to a name, the nearest first, at most `limit`.
///
/// If names begin with the given one, it is taken as unfinished and only their records are given. Otherwise
/// names that contain it count as near, and names that differ by no more than a third of its letters. Only the first 96 letters of the given name are looked at.
#[must_use]
pub fn nearest(index: &Index, name: &str, limit: usize) -> Vec<usize> {
    let mut end = name.len().min(MAX_LENGTH);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let Some(wanted) = NormalForm::of(name.get(..end).unwrap_or_default()) else { return Vec::new() };
    let wanted = wanted.as_bytes();
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut begins = false;
    for &(key, record) in index {
        let key = key.as_bytes();
        let record = usize::from(record);
        let surplus = key.len().abs_diff(wanted.len());
        let contained = wanted.len() >= 3 && key.windows(wanted.len()).any(|part| part == wanted);
        let allowed = wanted.len().div_ceil(3);
        // A name that contains what was typed is nearer than one that differs in two letters.
        let score = if contained && key.starts_with(wanted) {
            begins = true;
            Some(surplus)
        } else if contained {
            Some(UNFINISHED + 12 + surplus)
        } else if surplus > allowed {
            None
        } else {
            Some(edit_distance(wanted, key)).filter(|&distance| distance <= allowed).map(|distance| UNFINISHED + 12 * distance)
        };
        let Some(score) = score else { continue };
        match found.iter_mut().find(|(_, known)| *known == record) {
            Some(known) => known.0 = known.0.min(score),
            None => found.push((score, record)),
        }
    }
    if begins {
        found.retain(|&(score, _)| score < UNFINISHED);
    }
    found.sort_unstable();
    found.truncate(limit);
    found.into_iter().map(|(_, record)| record).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one name into the other.
fn edit_distance(left: &[u8], right: &[u8]) -> usize {
    let width = right.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut above: Vec<usize> = (0..width).collect();
    let mut row: Vec<usize> = vec![0; width];
    for (i, &a) in left.iter().enumerate() {
        row[0] = i + 1;
        for (j, &b) in right.iter().enumerate() {
            let mut best = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == right[j - 1] && left[i - 1] == b {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        core::mem::swap(&mut before, &mut above);
        core::mem::swap(&mut above, &mut row);
    }
    above[width - 1]
}
