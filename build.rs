//! Prepares what the program embeds: the migrations, the sample app with a compressed copy of each file, and the files of
//! the API viewer.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

const SAMPLE: &str = "frontend-sample";

/// The folders of the sample that browsers get, and the kinds of files there that are for them.
const FOLDERS: [&str; 3] = ["", "client", "views"];
const KINDS: [&str; 4] = ["html", "js", "css", "svg"];

/// The files of the API viewer that its page needs, with their media types.
const VIEWER: [(&str, &str); 3] = [
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("favicon-32x32.png", "image/png"),
];

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
    fs::write(out.join("sample.rs"), table)?;
    viewer(&out)
}

/// Takes the files of Swagger UI that `/docs` serves out of their package, each compressed.
fn viewer(out: &Path) -> io::Result<()> {
    let mut archive = ZipArchive::new(io::Cursor::new(SWAGGER_UI_VENDORED)).map_err(io::Error::other)?;
    let mut table = String::from("&[\n");
    for (name, media_type) in VIEWER {
        let compressed = out.join(format!("{name}.gz"));
        let mut gzip = GzEncoder::new(fs::File::create(&compressed)?, Compression::best());
        io::copy(&mut packed(&mut archive, name)?, &mut gzip)?;
        gzip.finish()?;
        let _ = writeln!(
            table,
            "    ViewerFile {{ name: {name:?}, media_type: {media_type:?}, gzip: include_bytes!({compressed:?}) }},"
        );
    }
    table.push_str("]\n");
    fs::write(out.join("docs.rs"), table)
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

/// The file of the package's folder `dist` with this name.
fn packed<'a>(
    archive: &'a mut ZipArchive<io::Cursor<&'static [u8]>>,
    name: &str,
) -> io::Result<impl io::Read + use<'a>> {
    let suffix = format!("/dist/{name}");
    for index in 0..archive.len() {
        let is_wanted =
            archive.by_index(index).is_ok_and(|file| file.name().is_ok_and(|path| path.ends_with(&suffix)));
        if is_wanted {
            return archive.by_index(index).map_err(io::Error::other);
        }
    }
    Err(io::Error::other(format!("the package of the API viewer has no {name}")))
}
