//! Datasets in chunks, compressed by gzip or not.
//!
//! Part of [`super::read`].

use std::io::Read as _;

use flate2::read::ZlibDecoder;

use super::read::{Cursor, Reader, Tree};
use super::{Hdf5Error, UNDEFINED, damaged, unknown};

/// Numbers of filters (section IV.A.2.l, and the registry of filters that it names).
mod filter {
    pub const DEFLATE: u64 = 1;
    pub const NAMES: [(u64, &str); 6] =
        [(2, "shuffle"), (3, "fletcher32"), (4, "szip"), (5, "nbit"), (6, "scale-offset"), (32000, "lzf")];
}

/// Most bytes that deflate makes of one; RFC 1951's longest match of 258 bytes takes two bits.
const LARGEST_RATIO: usize = 1032;

/// What an empty stream of zlib takes.
const SMALLEST_STREAM: usize = 8;

/// Most bytes that a dataset in chunks may have, 4 GiB: as many as a file that is read.
const MAX_BYTES: usize = u32::MAX as usize;

/// Whether a dataset's chunks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deflate {
    Yes,
    No,
}

/// Filters that values went through (section IV.A.2.l).
pub(super) fn filters(mut body: Cursor<'_>) -> Result<Deflate, Hdf5Error> {
    let (version, n) = (body.byte()?, body.byte()?);
    match version {
        1 => _ = body.take(6)?,
        2 => {}
        _ => return Err(unknown(format!("filters of version {version}"))),
    }
    let mut found = Deflate::No;
    for _ in 0..n {
        let number = body.number(2)?;
        let named = version == 1 || number >= 256;
        let name = if named { body.number(2)? as usize } else { 0 };
        body.take(2)?;
        let n_parameters = body.number(2)? as usize;
        let padding = if version == 1 { name.next_multiple_of(8) - name + n_parameters % 2 * 4 } else { 0 };
        body.take(name + 4 * n_parameters + padding)?;
        if number != filter::DEFLATE || found == Deflate::Yes {
            let known = filter::NAMES.iter().find(|(known, _)| *known == number);
            let name = known.map_or(number.to_string(), |(_, name)| (*name).to_owned());
            return Err(unknown(format!("data compressed or filtered by {name}, where gzip alone is read")));
        }
        found = Deflate::Yes;
    }
    Ok(found)
}

impl Reader<'_> {
    /// Values of a dataset in chunks that a tree of version 1 finds, row-major and in one piece.
    ///
    /// - `layout`: the rest of the layout message (section IV.A.2.i)
    pub(super) fn chunked(
        &mut self,
        mut layout: Cursor<'_>,
        shape: &[usize],
        width: usize,
        deflate: Deflate,
    ) -> Result<Vec<u8>, Hdf5Error> {
        if usize::from(layout.byte()?) != shape.len() + 1 || shape.is_empty() {
            return Err(damaged("chunks of other dimensions than their dataset's"));
        }
        let tree = layout.u64()?;
        let sizes: Vec<usize> = shape.iter().map(|_| Ok(layout.number(4)? as usize)).collect::<Result<_, _>>()?;
        if layout.number(4)? != width as u64 || sizes.contains(&0) {
            return Err(damaged(format!("chunks of {sizes:?}")));
        }
        let n_bytes = |sizes: &[usize]| {
            let n = sizes.iter().try_fold(width, |n, &size| n.checked_mul(size)).filter(|&n| n <= MAX_BYTES);
            n.ok_or_else(|| unknown(format!("data of more than {MAX_BYTES} bytes")))
        };
        let (all, of_chunk) = (n_bytes(shape)?, n_bytes(&sizes)?);
        if all == 0 {
            return Ok(Vec::new());
        }
        if tree == UNDEFINED {
            return Err(unknown("values that were never written"));
        }
        let grid: Vec<usize> = shape.iter().zip(&sizes).map(|(all, size)| all.div_ceil(*size)).collect();
        let n_chunks: usize = grid.iter().product();
        let chunks = self.tree(tree, Tree::Chunks(shape.len()))?;
        if chunks.len() != n_chunks {
            return Err(unknown(format!("{} chunks of {n_chunks}; the others were never written", chunks.len())));
        }
        let mut parts = Vec::with_capacity(n_chunks);
        let mut is_there = vec![false; n_chunks];
        for (mut key, address) in chunks {
            let (stored, skipped) = (key.number(4)?, key.number(4)?);
            let origin: Vec<usize> = shape.iter().map(|_| Ok(key.u64()? as usize)).collect::<Result<_, _>>()?;
            let place = origin.iter().zip(&sizes).zip(&grid).try_fold(0, |place, ((at, size), n)| {
                (at % size == 0 && at / size < *n).then(|| place * n + at / size)
            });
            let place = place.filter(|&place| !std::mem::replace(&mut is_there[place], true));
            place.ok_or_else(|| damaged("a chunk out of its place"))?;
            let part = Cursor::at_address(self.file, address, stored)?.rest;
            self.count_bytes(part.len())?;
            let is_packed = deflate == Deflate::Yes && skipped & 1 == 0;
            let fits = if is_packed {
                of_chunk <= part.len().saturating_sub(SMALLEST_STREAM).saturating_mul(LARGEST_RATIO)
            } else {
                of_chunk == part.len()
            };
            if !fits {
                return Err(damaged(format!("a chunk of {of_chunk} bytes in {}", part.len())));
            }
            parts.push((origin, part, is_packed));
        }
        // From here on, memory is in proportion to what the file holds.
        let mut whole = vec![0; all];
        let mut unpacked = Vec::new();
        for (origin, part, is_packed) in parts {
            let chunk = if is_packed {
                unpacked.clear();
                let mut stream = ZlibDecoder::new(part).take(of_chunk as u64 + 1);
                stream.read_to_end(&mut unpacked).map_err(|error| damaged(format!("a chunk's gzip: {error}")))?;
                if unpacked.len() != of_chunk {
                    return Err(damaged(format!("a chunk that is not {of_chunk} bytes unpacked")));
                }
                unpacked.as_slice()
            } else {
                part
            };
            place(chunk, &sizes, &origin, &mut whole, shape, width);
        }
        Ok(whole)
    }
}

/// Copies a chunk to its place; what of it lies beyond the dataset's end is padding.
fn place(chunk: &[u8], sizes: &[usize], origin: &[usize], whole: &mut [u8], shape: &[usize], width: usize) {
    let last = shape.len() - 1;
    let extents: Vec<usize> =
        sizes.iter().zip(origin).zip(shape).map(|((size, at), all)| (*size).min(all - at)).collect();
    let n_rows: usize = extents[..last].iter().product();
    let n_bytes = extents[last] * width;
    for row in 0..n_rows {
        let (mut rest, mut from, mut to) = (row, 0, origin[last]);
        let (mut stride_from, mut stride_to) = (sizes[last], shape[last]);
        for dimension in (0..last).rev() {
            let at = rest % extents[dimension];
            rest /= extents[dimension];
            from += at * stride_from;
            to += (origin[dimension] + at) * stride_to;
            stride_from *= sizes[dimension];
            stride_to *= shape[dimension];
        }
        whole[to * width..][..n_bytes].copy_from_slice(&chunk[from * width..][..n_bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_beyond_the_end_are_cut_and_rows_go_where_they_belong() {
        // A 3 × 5 array of numbers from 0 in chunks of 2 × 3, the padding 99.
        let mut whole = vec![77; 15];
        for origin in [[0, 0], [0, 3], [2, 0], [2, 3]] {
            let value = |row: usize, column: usize| if row < 3 && column < 5 { (row * 5 + column) as u8 } else { 99 };
            let chunk: Vec<u8> = (0..6).map(|at| value(origin[0] + at / 3, origin[1] + at % 3)).collect();
            place(&chunk, &[2, 3], &origin, &mut whole, &[3, 5], 1);
        }
        assert_eq!(whole, (0..15).collect::<Vec<u8>>());
    }

    #[test]
    fn filters_are_told_by_name() {
        let one = |number: u8, n_parameters: u8| {
            let parameters = vec![9; usize::from(n_parameters).next_multiple_of(2) * 4];
            [&[1, 1, 0, 0, 0, 0, 0, 0, number, 0, 0, 0, 1, 0, n_parameters, 0][..], &parameters].concat()
        };
        assert_eq!(filters(Cursor { rest: &one(1, 1) }), Ok(Deflate::Yes));
        let shuffle = filters(Cursor { rest: &one(2, 1) }).unwrap_err().to_string();
        assert!(shuffle.contains("by shuffle, where gzip alone is read"), "{shuffle}");
        assert!(filters(Cursor { rest: &one(1, 1)[..20] }).is_err());
        assert_eq!(filters(Cursor { rest: &[2, 1, 1, 0, 1, 0, 1, 0, 4, 0, 0, 0] }), Ok(Deflate::Yes));
    }
}
