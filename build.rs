//! Prepares what the program embeds: the migrations, and the sample app with a compressed copy of each file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const SAMPLE: &str = "frontend-sample";

/// The folders of the sample that browsers get, and the kinds of files there that are for them.
const FOLDERS: [&str; 3] = ["", "client", "views"];
const KINDS: [&str; 4] = ["html", "js", "css", "svg"];

/// What the broker writes itself, for its own configuration.
const WRITTEN: &str = "config.js";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=migrations");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut table = String::from("&[\n");
    for name in sample_files(&root)? {
        let source = root.join(SAMPLE).join(&name);
        let compressed = out.join("sample").join(format!("{name}.gz"));
        compress(&source, &compressed)?;
        let _ = writeln!(
            table,
            "    Embedded {{ name: {name:?}, plain: include_bytes!({source:?}), gzip: include_bytes!({compressed:?}) }},"
        );
    }
    table.push_str("]\n");
    fs::write(out.join("sample.rs"), table)
}

/// The names of the files, sorted; the broker is built again when one of them changes.
fn sample_files(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(root.join(SAMPLE).join(folder))? {
            let path = entry?.path();
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            if KINDS.contains(&kind) && path.is_file() && file != WRITTEN {
                names.push(if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") });
            }
        }
    }
    names.sort();
    for name in &names {
        println!("cargo:rerun-if-changed={SAMPLE}/{name}");
    }
    Ok(names)
}

/// Takes a second, and makes files that any `gzip` would make a little larger.
fn compress(source: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target.parent().unwrap_or(target))?;
    let mut compressed = fs::File::create(target)?;
    zopfli::compress(
        zopfli::Options::default(),
        zopfli::Format::Gzip,
        fs::File::open(source)?,
        &mut compressed,
    )
}
