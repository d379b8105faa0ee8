//! The modules of the crate lie in layers: a module imports only from lower layers, or from itself.
//!
//! The table below is the structure. The test reads the `use` lines and the paths of the sources.
//! It fails for a module that imports upward or sideways, and for one that is not in the table.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules, from the lowest layer up. A module is a file of `src`, with the folder of its name.
const LAYERS: [&[&str]; 13] = [
    &["stream", "time", "input"],
    &["budget", "close", "rate"],
    &["config", "endings", "status"],
    &["head", "output", "waits"],
    &["event", "gate", "step", "tls"],
    &["transport"],
    &["exchange"],
    &["h1", "h2", "websocket"],
    &["socket"],
    &["protocol"],
    &["connection"],
    &["bound"],
    &["behind_a_proxy", "driving"],
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// The other modules that a file names: `crate::module`, or `crate::{a, b}`.
fn imports(text: &str) -> Vec<String> {
    // Tests at the end of a file may use the public API; comments link to anything.
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut rooms = Vec::new();
    for behind in code.split("crate::").skip(1) {
        match behind.strip_prefix('{') {
            Some(list) => {
                let list = list.split('}').next().unwrap_or_default();
                rooms.extend(list.split(',').map(|name| first_name(name.trim())));
            }
            None => rooms.push(first_name(behind)),
        }
    }
    rooms
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
}

#[test]
fn rooms_import_only_from_lower_layers() {
    let layer_of: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, rooms)| rooms.iter().map(move |room| (*room, layer)))
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&folder, &mut files);
    assert!(files.len() > 40, "only {} files", files.len());
    let mut upward = Vec::new();
    for file in files {
        let place = file.strip_prefix(&folder).expect("below src").with_extension("");
        let room = place.iter().next().and_then(|it| it.to_str()).expect("a name").to_owned();
        // `lib` names all rooms; tests may use the public API.
        if room == "lib" || place.ends_with("tests") {
            continue;
        }
        let layer = *layer_of.get(room.as_str()).unwrap_or_else(|| panic!("{room} has no layer"));
        for other in imports(&fs::read_to_string(&file).expect("a source")) {
            match layer_of.get(other.as_str()) {
                Some(lower) if *lower < layer => {}
                _ if other == room => {}
                Some(_) => upward.push(format!("{} imports {other}", place.display())),
                // Documentation links to the public API.
                None if layer + 1 == LAYERS.len() => {}
                None => upward.push(format!("{} imports {other} from lib", place.display())),
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn imports_are_found_in_all_their_forms() {
    let text = "use crate::time::Tick;\nuse crate::{h1, head::Lines};\nlet x = crate::output::y();\n\
        // crate::driving\n#[cfg(test)]\nmod tests { use crate::connection; }";
    assert_eq!(imports(text), ["time", "h1", "head", "output"]);
}
