//! Writes the page and the standalone figures of a made-up experiment, to look at while working on the report.
//!
//! `cargo run -p report --example sample -- DIRECTORY`

use std::path::PathBuf;

#[path = "../tests/sample/mod.rs"]
mod sample;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: sample DIRECTORY")?);
    std::fs::create_dir_all(&directory)?;
    let record = sample::experiment();
    std::fs::write(directory.join("report.html"), report::html(&record)?)?;
    for figure in report::figures(&record)? {
        std::fs::write(directory.join(figure.file_name), figure.svg)?;
    }
    Ok(())
}
