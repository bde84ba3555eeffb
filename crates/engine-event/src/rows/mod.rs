//! Rows of weights, and lists of which rows to add up: what may only be made together, and all `unsafe` code of the kernels.
//!
//! An entry of a list is where a row of weights begins in memory, and a kernel adds rows up without looking whether they are
//! there: a check of each would take as long as the addition. Instead all of them are checked when a layer is packed:
//!
//! 1. A [`Layout`] says how the inputs of a connection are listed. When it is made, it works out the least and the greatest entry
//!    that it can ever list in each row of inputs. [`Counts`], the lists themselves, are written by [`Layout::list`] alone, and
//!    keep the number of their layout, which no other layout has.
//! 2. A [`Table`] holds the weights, and [`Window`]s that say which rows of inputs are read and where in the table their entries
//!    point. When it is made, it checks for every window that the least and the greatest entry of each row that is read stand for
//!    rows of the table, and that everything in between does.
//! 3. A [`Slice`] is a table together with lists. It can only be had if the lists are of the layout that the table was checked
//!    against, and it alone adds rows.
//!
//! Fields are private, so nothing outside this module can break the argument. `scripts/check-unsafe` runs the tests under Miri
//! with the portable form of each operation, and once with debug assertions, which look at every row.

mod lists;
mod table;

pub(crate) use lists::{Counts, Factors, Layout, Run, SegmentLists, Segments, VALUE_DIGITS};
pub(crate) use table::{Place, Short, Slice, Stored, Table, Window};
