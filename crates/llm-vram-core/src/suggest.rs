//! What a misspelt word may have meant.

use alloc::vec::Vec;

/// The candidate with the smallest edit distance, if it is near enough to be a slip.
pub(crate) fn nearest<'a>(found: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if found.len() > 64 {
        return None;
    }
    candidates
        .map(|candidate| (distance(found, candidate), candidate))
        .min()
        .filter(|(d, _)| *d <= found.len() / 3 + 1)
        .map(|(_, c)| c)
}

/// Levenshtein distance over bytes, letter case ignored.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().map(|c| c.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().map(|c| c.to_ascii_lowercase()).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, &y) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            let next = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = next;
            left = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
