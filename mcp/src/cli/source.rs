//! The source of a command's servers: configurations, or one server on the command line.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use moored_mcp::config::Config;
use moored_mcp::{HttpParams, ServerParams, StdioParams};

use super::args::TypedArgs;
use super::output;
use super::render::words;

/// The servers of the file at `path`; ignored parts of it are reported on stderr.
///
/// # Errors
///
/// One sentence that names the file, the line, the server and the key at fault.
pub(crate) fn load(path: &Path) -> Result<Vec<ServerParams>, String> {
    let (servers, warnings) = read(path)?;
    warnings.iter().for_each(|warning| output::warn(warning));
    Ok(servers)
}

/// The servers of several files, in order. A name that is in more than one of them gets its file before it.
///
/// # Errors
///
/// As for [`load`], for the first file that has a mistake.
pub(crate) fn load_all(paths: &[PathBuf]) -> Result<Vec<ServerParams>, String> {
    if let [path] = paths {
        return load(path);
    }
    let mut files = Vec::new();
    for path in paths {
        let (servers, warnings) = read(path)?;
        for warning in warnings {
            output::warn(&format!("{}: {warning}", path.display()));
        }
        files.push((path.as_path(), servers));
    }
    Ok(together(files))
}

fn read(path: &Path) -> Result<(Vec<ServerParams>, Vec<String>), String> {
    let config =
        Config::load(path, |name| std::env::var(name)).map_err(|error| words::chain(&error))?;
    Ok((config.servers, config.warnings))
}

/// The servers of all files. A name that is twice in one file is kept twice, because that is a mistake in the file.
fn together(files: Vec<(&Path, Vec<ServerParams>)>) -> Vec<ServerParams> {
    let mut found_in: HashMap<String, HashSet<&Path>> = HashMap::new();
    for (path, servers) in &files {
        for server in servers {
            found_in.entry(server.name.clone()).or_default().insert(path);
        }
    }
    let labels = labels(&files.iter().map(|(path, _)| *path).collect::<Vec<_>>());
    let labelled = files.into_iter().zip(labels).flat_map(|((_, servers), label)| {
        let found_in = &found_in;
        servers.into_iter().map(move |mut server| {
            if found_in[&server.name].len() > 1 {
                server.name = format!("{label}:{}", server.name);
            }
            server
        })
    });
    labelled.collect()
}

/// A label for each file: its name, or its whole path if two files have the same name.
fn labels(paths: &[&Path]) -> Vec<String> {
    let names: Vec<_> = paths.iter().map(|path| path.file_name()).collect();
    let different: HashSet<&Path> = paths.iter().copied().collect();
    let distinct = names.iter().collect::<HashSet<_>>().len() == different.len();
    let label = |path: &&Path| match path.file_name() {
        Some(name) if distinct => name.to_string_lossy().into_owned(),
        _ => path.display().to_string(),
    };
    paths.iter().map(label).collect()
}

/// The one server of the command line, with an arbitrary name.
///
/// # Errors
///
/// If it is a command without a name.
pub(crate) fn typed(args: &TypedArgs) -> Result<Option<ServerParams>, String> {
    const NAME: &str = "server";
    if let Some(url) = &args.url {
        return Ok(Some(ServerParams::http(NAME, HttpParams::new(url))));
    }
    let Some((command, rest)) = args.command.split_first() else { return Ok(None) };
    if command.is_empty() {
        return Err("the first word after --command is empty: it is the program to start".into());
    }
    let mut params = StdioParams::new(command);
    params.args = rest.to_vec();
    Ok(Some(ServerParams::stdio(NAME, params)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[(&str, &[&str])]) -> Vec<String> {
        let server = |name: &&str| ServerParams::stdio(*name, StdioParams::new("x"));
        let files = files
            .iter()
            .map(|(path, names)| (Path::new(*path), names.iter().map(server).collect()))
            .collect();
        together(files).into_iter().map(|server| server.name).collect()
    }

    #[test]
    fn a_name_in_two_files_gets_its_file_before_it() {
        assert_eq!(
            names(&[("a/one.json", &["x", "y"]), ("b/two.json", &["y", "z"])]),
            ["x", "one.json:y", "two.json:y", "z"]
        );
        assert_eq!(
            names(&[("a/mcp.json", &["x"]), ("b/mcp.json", &["x"])]),
            ["a/mcp.json:x", "b/mcp.json:x"]
        );
    }

    #[test]
    fn a_name_twice_in_one_file_stays_a_duplicate() {
        assert_eq!(names(&[("one.json", &["x", "x"]), ("two.json", &["y"])]), ["x", "x", "y"]);
        assert_eq!(names(&[("a.json", &["x"]), ("a.json", &["x"])]), ["x", "x"]);
    }
}
