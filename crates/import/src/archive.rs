//! Zip archives as `torch.save` writes them.
//!
//! What is read is what PyTorch reads: the directory at the end, by its own offsets, with or without checksums, records that are
//! stored or deflated. General readers of zip files guess whether something was put before an archive, and refuse valid ones.
//! Layout: APPNOTE 6.3.10 of PKWARE, sections 4.3 and 4.5.3.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::Range;

use crc32fast::Hasher;
use flate2::read::DeflateDecoder;

use crate::source::Source;

const LOCAL_HEADER: u32 = 0x0403_4b50;
const DIRECTORY_ENTRY: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

/// Length of the end record without its comment, and of the longest comment.
const END_BYTES: u64 = 22;
const MAX_COMMENT_BYTES: u64 = 0xffff;

/// The tag of the field with 64-bit sizes.
const SIZES_64: u16 = 1;

/// A record of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    /// Place of its local header.
    header: u64,
    /// Bytes that it takes in the file.
    packed: u64,
    /// Bytes that it holds.
    size: u64,
    /// Checksum of these; 0 where none was written.
    crc: u32,
    method: u16,
    flags: u16,
}

/// An archive, of which the directory is in memory.
#[derive(Debug)]
pub(crate) struct Archive {
    source: Source,
    records: BTreeMap<String, Record>,
    /// Records whose checksum was looked at.
    verified: RefCell<BTreeSet<u64>>,
}

/// Where the directory lies.
struct Directory {
    start: u64,
    n_bytes: u64,
    n_records: u64,
}

impl Archive {
    /// Reads the directory.
    ///
    /// # Errors
    /// If there is none, or it contradicts itself or the file.
    pub(crate) fn open(source: Source) -> Result<Self, String> {
        let Directory { start, n_bytes, n_records } = directory(&source)?;
        let bytes = source.read(start, n_bytes)?;
        let mut rest = &bytes[..];
        let mut records = BTreeMap::new();
        for _ in 0..n_records {
            let (name, record) = entry(&mut rest)?;
            if records.insert(name.clone(), record).is_some() {
                return Err(format!("two records are called `{name}`"));
            }
        }
        Ok(Self { source, records, verified: RefCell::default() })
    }

    /// Names of its records, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.records.keys().map(String::as_str)
    }

    /// Number of bytes that a record holds; `None` if there is no such record.
    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        self.records.get(name).map(|record| record.size)
    }

    /// Reads a whole record.
    ///
    /// - `limit`: bytes that a record may have that is not simply stored, and so may unpack to more than the file holds
    ///
    /// # Errors
    /// As [`Archive::read`].
    pub(crate) fn read_whole(&self, name: &str, limit: u64) -> Result<Vec<u8>, String> {
        let record = self.record(name)?;
        if record.method != 0 && record.size > limit {
            return Err(format!("its {name} unpacks to more than {limit} bytes"));
        }
        self.read(name, 0..record.size)
    }

    /// Reads bytes of a record. Its checksum, if it has one, is compared at the first time.
    ///
    /// # Errors
    /// If there is no such record, it ends early, is damaged, encrypted, or packed by another method.
    pub(crate) fn read(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, String> {
        let record = self.record(name)?;
        if range.start > range.end || range.end > record.size {
            return Err(format!("record {name} ends at {} bytes, before what is read of it", record.size));
        }
        let start = self.data(name, record)?;
        let packed = self.source.reader(start, record.packed).map_err(|error| error.to_string())?;
        match record.method {
            0 => {
                self.verify(name, record, packed)?;
                self.source.read(start + range.start, range.end - range.start)
            }
            8 => unpack(DeflateDecoder::new(packed), record, &range).map_err(|found| format!("record {name} {found}")),
            other => Err(format!("record {name} is packed by method {other}; supported: stored (0), deflated (8)")),
        }
    }

    fn record(&self, name: &str) -> Result<Record, String> {
        self.records.get(name).copied().ok_or_else(|| format!("record {name} is not there"))
    }

    /// Where a record's bytes start: behind its local header, whose length only itself tells.
    fn data(&self, name: &str, record: Record) -> Result<u64, String> {
        if record.flags & 1 != 0 {
            return Err(format!("record {name} is encrypted"));
        }
        if record.method == 0 && record.packed != record.size {
            return Err(format!("record {name} is stored in {} bytes and holds {}", record.packed, record.size));
        }
        let header = self.source.read(record.header, 30)?;
        if u32_at(&header, 0) != LOCAL_HEADER {
            return Err(format!("record {name} does not lie where the directory says"));
        }
        let start = record.header + 30 + u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        match start.checked_add(record.packed) {
            Some(end) if end <= self.source.len() => Ok(start),
            _ => Err(format!("record {name} reaches over the end of the file")),
        }
    }

    fn verify(&self, name: &str, record: Record, mut bytes: impl Read) -> Result<(), String> {
        if record.crc == 0 || !self.verified.borrow_mut().insert(record.header) {
            return Ok(());
        }
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match bytes.read(&mut buffer).map_err(|error| error.to_string())? {
                0 => break,
                n => hasher.update(&buffer[..n]),
            }
        }
        if hasher.finalize() == record.crc {
            Ok(())
        } else {
            Err(format!("record {name} is damaged: its checksum is another"))
        }
    }
}

/// Unpacks a record as far as it says it goes, and keeps a part.
fn unpack(packed: impl Read, record: Record, range: &Range<u64>) -> Result<Vec<u8>, String> {
    let mut bytes = packed.take(record.size.saturating_add(1));
    let (mut hasher, mut kept, mut place) = (Hasher::new(), Vec::new(), 0_u64);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = bytes.read(&mut buffer).map_err(|error| format!("cannot be unpacked ({error})"))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        let within = |at: u64| (at.clamp(place, place + n as u64) - place) as usize;
        kept.extend_from_slice(&buffer[within(range.start)..within(range.end)]);
        place += n as u64;
    }
    if place != record.size {
        return Err(format!("unpacks to another number of bytes than the {} it says", record.size));
    }
    if record.crc != 0 && hasher.finalize() != record.crc {
        return Err("is damaged: its checksum is another".to_owned());
    }
    Ok(kept)
}

/// Finds the directory by the record at the end of the file, and its 64-bit form where there is one.
fn directory(source: &Source) -> Result<Directory, String> {
    let tail_start = source.len().saturating_sub(END_BYTES + MAX_COMMENT_BYTES);
    let tail = source.read_up_to(tail_start, END_BYTES + MAX_COMMENT_BYTES)?;
    let is_end = |&at: &usize| {
        u32_at(&tail, at) == END && at + END_BYTES as usize + usize::from(u16_at(&tail, at + 20)) == tail.len()
    };
    let last = tail.len().checked_sub(END_BYTES as usize);
    let at =
        last.and_then(|last| (0..=last).rev().find(is_end)).ok_or("an archive without the directory at its end")?;
    let end = tail_start + at as u64;
    let mut found = Directory {
        start: u64::from(u32_at(&tail, at + 16)),
        n_bytes: u64::from(u32_at(&tail, at + 12)),
        n_records: u64::from(u16_at(&tail, at + 10)),
    };
    if let Some(wide) = wide_directory(source, end)? {
        found = wide;
    }
    match found.start.checked_add(found.n_bytes) {
        Some(stop) if stop <= end => Ok(found),
        _ => Err("a directory that reaches over the end of the archive".to_owned()),
    }
}

/// The 64-bit end record, if its locator stands before the end record.
fn wide_directory(source: &Source, end: u64) -> Result<Option<Directory>, String> {
    let Some(locator_start) = end.checked_sub(20) else { return Ok(None) };
    let locator = source.read(locator_start, 20)?;
    if u32_at(&locator, 0) != LOCATOR_64 {
        return Ok(None);
    }
    let record = source.read(u64_at(&locator, 8), 56)?;
    if u32_at(&record, 0) != END_64 {
        return Err("a directory that does not lie where the archive's end says".to_owned());
    }
    Ok(Some(Directory { start: u64_at(&record, 48), n_bytes: u64_at(&record, 40), n_records: u64_at(&record, 32) }))
}

/// Takes an entry off the directory.
fn entry(rest: &mut &[u8]) -> Result<(String, Record), String> {
    let header = take(rest, 46)?;
    if u32_at(header, 0) != DIRECTORY_ENTRY {
        return Err("a directory that ends before its last record".to_owned());
    }
    let length = |at: usize| usize::from(u16_at(header, at));
    let name = String::from_utf8_lossy(take(rest, length(28))?).into_owned();
    let extra = take(rest, length(30))?;
    take(rest, length(32))?;
    let mut record = Record {
        header: u64::from(u32_at(header, 42)),
        packed: u64::from(u32_at(header, 20)),
        size: u64::from(u32_at(header, 24)),
        crc: u32_at(header, 16),
        method: u16_at(header, 10),
        flags: u16_at(header, 8),
    };
    widen(&mut record, extra)?;
    Ok((name, record))
}

/// Replaces what does not fit into 32 bits by the 64-bit field, which has only these, in this order.
fn widen(record: &mut Record, mut extra: &[u8]) -> Result<(), String> {
    while extra.len() >= 4 {
        let head = take(&mut extra, 4)?;
        let Ok(mut field) = take(&mut extra, usize::from(u16_at(head, 2))) else { break };
        if u16_at(head, 0) != SIZES_64 {
            continue;
        }
        for number in [&mut record.size, &mut record.packed, &mut record.header] {
            if *number == u64::from(u32::MAX) {
                *number = u64_at(take(&mut field, 8)?, 0);
            }
        }
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(n).ok_or("a directory that is cut short")?;
    *rest = left;
    Ok(taken)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
