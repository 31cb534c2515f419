//! The content of a file, as sparse as the file itself, and what may become of it when the power fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;

use crate::random::Random;

const PAGE: usize = 4096;

/// What is always written whole.
const SECTOR: usize = 512;

type Page = [u8; PAGE];

/// The content of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) size: u64,
    /// Pages that are not all zeros, by their number.
    pages: BTreeMap<u64, Rc<Page>>,
}

/// A change of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Write(u64, Vec<u8>),
    Resize(u64),
    /// Makes room, and the file that long if it is shorter.
    Extend(u64),
}

impl Op {
    /// How long a file of that size is afterwards, in bytes.
    pub(super) fn size_after(&self, size: u64) -> u64 {
        match self {
            Self::Write(offset, bytes) => size.max(offset + bytes.len() as u64),
            Self::Resize(new) => *new,
            Self::Extend(new) => size.max(*new),
        }
    }
}

/// How much of what was not synced is there after the power has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Luck {
    Nothing,
    Everything,
    /// Each piece as it comes: written back at some time, or not at all.
    Pieces,
}

impl Luck {
    /// For one file.
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.below(10) {
            0..3 => Self::Nothing,
            3..5 => Self::Everything,
            _ => Self::Pieces,
        }
    }
}

impl Image {
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut image = Self::default();
        let mut file = File::open(path)?;
        let mut page = [0; PAGE];
        for number in 0.. {
            let mut filled = 0;
            while filled < PAGE {
                match file.read(&mut page[filled..])? {
                    0 => break,
                    more => filled += more,
                }
            }
            if page[..filled].iter().any(|byte| *byte != 0) {
                page[filled..].fill(0);
                image.pages.insert(number, Rc::new(page));
            }
            image.size += filled as u64;
            if filled < PAGE {
                break;
            }
        }
        Ok(image)
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.size)?;
        for (number, page) in &self.pages {
            let offset = number * PAGE as u64;
            let length = usize::try_from(self.size.saturating_sub(offset))
                .unwrap_or(PAGE)
                .min(PAGE);
            file.write_all_at(&page[..length], offset)?;
        }
        Ok(())
    }

    /// What is not zero, by its place, without zeros at the end of each piece.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().map(|(number, page)| {
            let length = page.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            (number * PAGE as u64, &page[..length])
        })
    }

    /// Writes bytes at a place.
    pub(crate) fn write_piece(&mut self, offset: u64, bytes: Vec<u8>) {
        self.apply(&Op::Write(offset, bytes));
    }

    /// Cuts it, or makes it longer with zeros.
    pub(crate) fn resize(&mut self, size: u64) {
        self.apply(&Op::Resize(size));
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Write(offset, bytes) => self.put(*offset, bytes),
            Op::Resize(size) if *size < self.size => self.cut(*size),
            Op::Resize(_) | Op::Extend(_) => {}
        }
        self.size = op.size_after(self.size);
    }

    /// The bytes of a piece, zeros where nothing is.
    fn piece(&self, offset: u64, length: usize) -> Vec<u8> {
        let (number, within) = (offset / PAGE as u64, offset_in_page(offset));
        match self.pages.get(&number) {
            Some(page) => page[within..within + length].to_vec(),
            None => vec![0; length],
        }
    }

    fn put(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (number, within) = (offset / PAGE as u64, offset_in_page(offset));
            let (now, later) = bytes.split_at(bytes.len().min(PAGE - within));
            let page = self.pages.entry(number).or_insert_with(|| Rc::new([0; PAGE]));
            Rc::make_mut(page)[within..within + now.len()].copy_from_slice(now);
            if page.iter().all(|byte| *byte == 0) {
                self.pages.remove(&number);
            }
            offset += now.len() as u64;
            bytes = later;
        }
    }

    /// Makes zeros of everything from there on.
    fn cut(&mut self, size: u64) {
        let number = size / PAGE as u64;
        self.pages.split_off(&(number + 1));
        let within = offset_in_page(size);
        if let Some(page) = self.pages.get_mut(&number) {
            Rc::make_mut(page)[within..].fill(0);
            if page.iter().all(|byte| *byte == 0) {
                self.pages.remove(&number);
            }
        }
    }

    /// What may be there of changes that were not synced: the size of some moment, and each piece of each page as it
    /// was at some moment. A size without its data reads as zeros.
    pub(super) fn after_power_loss(&self, unsynced: &[Op], luck: Luck, random: &mut Random) -> Self {
        let mut whole = self.clone();
        match luck {
            Luck::Nothing => return whole,
            Luck::Everything => {
                unsynced.iter().for_each(|op| whole.apply(op));
                return whole;
            }
            Luck::Pieces => {}
        }
        let length = if random.percent(50) { SECTOR } else { PAGE };
        let moment = random.below(unsynced.len() + 1);
        let size = unsynced[..moment]
            .iter()
            .fold(self.size, |size, op| op.size_after(size));
        let mut image = self.clone();
        image.cut(size);
        image.size = size;
        for offset in self.touched(unsynced, length) {
            let ops: Vec<&Op> = unsynced.iter().filter(|op| touches(op, offset, length)).collect();
            let moment = random.below(ops.len() + 1);
            let mut piece = self.piece(offset, length);
            ops[..moment]
                .iter()
                .for_each(|op| apply_to_piece(op, offset, &mut piece));
            image.put(offset, &piece);
        }
        image.cut(size);
        image
    }

    /// Where pieces begin that a change has to do with.
    fn touched(&self, ops: &[Op], length: usize) -> BTreeSet<u64> {
        let step = length as u64;
        let mut found = BTreeSet::new();
        for op in ops {
            match op {
                Op::Write(offset, bytes) => {
                    let first = offset / step;
                    let end = (offset + bytes.len() as u64).div_ceil(step);
                    found.extend((first..end).map(|number| number * step));
                }
                Op::Resize(size) => {
                    let beyond = self.pages.keys().map(|number| number * PAGE as u64);
                    let pieces =
                        beyond.flat_map(|offset| (0..PAGE as u64 / step).map(move |piece| offset + piece * step));
                    found.extend(pieces.filter(|offset| offset + step > *size));
                }
                Op::Extend(_) => {}
            }
        }
        found
    }
}

fn touches(op: &Op, piece: u64, length: usize) -> bool {
    let end = piece + length as u64;
    match op {
        Op::Write(offset, bytes) => *offset < end && piece < offset + bytes.len() as u64,
        Op::Resize(size) => *size < end,
        Op::Extend(_) => false,
    }
}

fn apply_to_piece(op: &Op, at: u64, piece: &mut [u8]) {
    let end = at + piece.len() as u64;
    let index = |offset: u64| usize::try_from(offset.clamp(at, end) - at).unwrap_or(piece.len());
    match op {
        Op::Write(offset, bytes) => {
            let (from, to) = (index(*offset), index(offset + bytes.len() as u64));
            let skipped = usize::try_from(at.saturating_sub(*offset)).unwrap_or(usize::MAX);
            piece[from..to].copy_from_slice(&bytes[skipped..skipped + (to - from)]);
        }
        Op::Resize(size) => {
            let from = index(*size);
            piece[from..].fill(0);
        }
        Op::Extend(_) => {}
    }
}

fn offset_in_page(offset: u64) -> usize {
    usize::try_from(offset % PAGE as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(ops: &[Op]) -> Image {
        let mut image = Image::default();
        ops.iter().for_each(|op| image.apply(op));
        image
    }

    #[test]
    fn an_image_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let image = image(&[
            Op::Extend(100_000),
            Op::Write(5_000, vec![7; 9_000]),
            Op::Write(20_000, vec![0; 5_000]),
            Op::Resize(12_345),
            Op::Resize(30_000),
            Op::Write(29_999, vec![9, 9]),
        ]);
        image.write(&path).unwrap();
        assert_eq!(Image::read(&path).unwrap(), image);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(
            (bytes.len(), bytes[4_999], bytes[5_000], bytes[12_344], bytes[12_345]),
            (30_001, 0, 7, 7, 0)
        );
    }

    #[test]
    fn what_was_synced_stays_and_a_sector_is_never_torn() {
        let synced = image(&[Op::Write(0, vec![1; 10_000])]);
        let unsynced = [
            Op::Write(1_000, vec![2; 4_000]),
            Op::Write(9_000, vec![3; 8_000]),
            Op::Write(1_024, vec![4; 12]),
        ];
        let (mut torn, mut grown) = (false, false);
        for seed in 0..200 {
            let after = synced.after_power_loss(&unsynced, Luck::Pieces, &mut Random::new(seed));
            assert_eq!(after.piece(0, 512), vec![1; 512]);
            let short = after.piece(1_024, 12);
            assert!(
                [[1; 12], [2; 12], [4; 12]].iter().any(|whole| short == whole),
                "{short:?}"
            );
            assert!([10_000, 17_000].contains(&after.size), "{}", after.size);
            torn |= after.piece(2_048, 512) != after.piece(3_072, 512);
            grown |= after.size == 17_000 && after.piece(12_288, 512) == [0; 512];
        }
        assert!(torn && grown);
        assert_eq!(
            synced.after_power_loss(&unsynced, Luck::Nothing, &mut Random::new(1)),
            synced
        );
        let all = synced.after_power_loss(&unsynced, Luck::Everything, &mut Random::new(1));
        assert_eq!((all.size, all.piece(1_024, 13)[12]), (17_000, 2));
    }

    #[test]
    fn a_file_may_keep_its_data_or_lose_it_when_it_is_cut() {
        let synced = image(&[Op::Write(0, vec![1; 8_192])]);
        let sizes: BTreeSet<u64> = (0..50)
            .map(|seed| {
                let after = synced.after_power_loss(&[Op::Resize(100)], Luck::Pieces, &mut Random::new(seed));
                assert_eq!(after.piece(0, 100), vec![1; 100]);
                after.size
            })
            .collect();
        assert_eq!(sizes, BTreeSet::from([100, 8_192]));
    }
}
