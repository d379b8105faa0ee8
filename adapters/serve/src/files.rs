//! Serves the files of a directory, for GET and HEAD.
//!
//! No path leads out of the directory (see `path` and `root`), and the answers don't tell whether
//! something exists outside. A directory is answered with its `index.html` or a listing. Pipes,
//! sockets and devices are refused without being opened. Names that begin with a dot are hidden,
//! except for `/.well-known/`. Conditional requests and single byte ranges follow RFC 9110. Files
//! and listings are produced in pieces, as the peer reads them.
//!
//! `/page` is also the path of `page.html`. A file of text may have siblings that are compressed already: `app.js.br`,
//! `app.js.zst` and `app.js.gz` for `app.js`. They are sent to clients that take them, unless they are older than
//! the file. Text without one is compressed with gzip while it is sent. A `404.html` at the top is the answer
//! where nothing is served.

mod cache;
mod coding;
mod conditional;
mod date;
mod listing;
mod path;
mod range;
mod reader;
mod root;

use crate::answer::{self, Answer, HTML};
use crate::body::AnswerBody;
use blocking::unblock;
use coding::{Coding, Compressors};
use conditional::{Validators, Verdict};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, LOCATION, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use listing::{Listing, Page};
use mime_guess::Mime;
use path::Place;
use range::Wanted;
use reader::Reader;
use root::{Found, Root, leads_out};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use cache::{BadCacheRule, CacheRule};

const INDEX: &str = "index.html";
const NOT_FOUND: &str = "404.html";
const ACCEPTED: HeaderValue = HeaderValue::from_static("accept-encoding");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// A listing runs no scripts and loads nothing.
const INERT: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");

/// The files of a directory.
#[derive(Clone, Debug)]
pub struct Files {
    root: Arc<Root>,
    options: Arc<Options>,
}

#[derive(Clone, Debug)]
struct Options {
    dotfiles: bool,
    /// `/index.html` is the answer where nothing is served.
    is_one_page: bool,
    /// `None`: text is sent as it is, unless there is a sibling.
    compressors: Option<Compressors>,
    cache: Vec<CacheRule>,
}

const METHODS: &str = "GET, HEAD, OPTIONS";

impl Files {
    /// Serves the directory at `path`. It stays open, so it may be moved or renamed.
    ///
    /// # Errors
    /// If `path` is not a directory, or cannot be read.
    pub fn open(path: &Path) -> io::Result<Files> {
        let options = Options {
            dotfiles: false,
            is_one_page: false,
            compressors: Some(Compressors::default()),
            cache: Vec::new(),
        };
        Ok(Files { root: Arc::new(Root::open(path)?), options: Arc::new(options) })
    }

    /// Whether to serve and list names that begin with a dot, such as `.git`. They are hidden by
    /// default, except for `/.well-known/` (RFC 8615).
    pub fn dotfiles(mut self, serve: bool) -> Files {
        Arc::make_mut(&mut self.options).dotfiles = serve;
        self
    }

    /// Whether the site is an application of one page: `/index.html` is the answer at each path at which nothing
    /// is served, if the last name has no dot. Other names are of files that are missing.
    pub fn one_page(mut self, is_one_page: bool) -> Files {
        Arc::make_mut(&mut self.options).is_one_page = is_one_page;
        self
    }

    /// Whether to compress text while it is sent, as by default. At most 32 files are compressed at the same
    /// time, each with about 300 KB of memory; others are sent as they are. Files from 1 KiB to 16 MiB are.
    pub fn compress(mut self, compress: bool) -> Files {
        Arc::make_mut(&mut self.options).compressors = compress.then(Compressors::default);
        self
    }

    /// Adds `Cache-Control` to answers with files. The first rule that is for a file counts.
    pub fn cache(mut self, rules: impl IntoIterator<Item = CacheRule>) -> Files {
        Arc::make_mut(&mut self.options).cache.extend(rules);
        self
    }

    /// The files as a service, for an adapter's `serve`.
    pub fn service<B>(self) -> impl Fn(Request<B>) -> Answer<B> + Clone + Send + Sync + 'static
    where
        B: Send + 'static,
    {
        move |request| self.answer(&request)
    }

    /// Answers one request. Its content is ignored.
    pub fn answer<B, C: Send + 'static>(&self, request: &Request<B>) -> Answer<C> {
        match *request.method() {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return Answer::now(answer::options(METHODS)),
            ref other if !answer::knows(other.as_str()) => {
                return Answer::now(answer::unknown_method());
            }
            _ => return Answer::now(answer::wrong_method(METHODS)),
        }
        let Ok(place) = Place::named_by(request.uri().path()) else {
            let text = "bad path: it has a broken escape, an encoded slash, a backslash, NUL, `.` or `..`\n";
            return Answer::now(answer::line(StatusCode::BAD_REQUEST, text));
        };
        let asked = Asked {
            method: request.method().clone(),
            fields: request.headers().clone(),
            query: request.uri().query().map(str::to_owned),
            options: self.options.clone(),
        };
        let root = self.root.clone();
        Answer::later(async move {
            let served = match unblock(move || serve(root, place, &asked)).await {
                Ok(Served::Answer(response)) => Ok(response),
                Ok(Served::Listing(page)) => Listing::begin(page).await.map(page_of),
                Err(error) => Err(error),
            };
            served.unwrap_or_else(|error| refusal(&error))
        })
    }
}

/// The parts of a request that matter beside its path, and the server's options.
struct Asked {
    method: Method,
    fields: HeaderMap,
    query: Option<String>,
    options: Arc<Options>,
}

/// What a path leads to.
enum Served<C> {
    Answer(Response<AnswerBody<C>>),
    /// A directory's page, not made yet.
    Listing(Page),
}

/// Finds what a request asks for. Blocks on the file system.
fn serve<C>(root: Arc<Root>, place: Place, asked: &Asked) -> io::Result<Served<C>> {
    if place.is_hidden() && !asked.options.dotfiles {
        return Ok(Served::Answer(missing(&root, &place, asked)?));
    }
    let found = match root.look_up(place.path()) {
        Err(error) if is_missing(&error) => {
            return Ok(Served::Answer(match page_named(&root, &place, asked)? {
                Some(page) => page,
                None => missing(&root, &place, asked)?,
            }));
        }
        found => found?,
    };
    Ok(Served::Answer(match found {
        Found::File(..) if place.means_directory() => missing(&root, &place, asked)?,
        Found::File(file, metadata) => {
            serve_file(&root, Chosen { file, metadata, path: place.path() }, asked)?
        }
        Found::Special => answer::line(
            StatusCode::FORBIDDEN,
            "forbidden: this is neither a file nor a directory\n",
        ),
        Found::Directory(_) if !place.means_directory() => {
            redirect(place.directory_target(), asked.query.as_deref())
        }
        Found::Directory(directory) => {
            let index = place.entry(OsStr::new(INDEX));
            match root.look_up(&index) {
                Ok(Found::File(file, metadata)) => {
                    serve_file(&root, Chosen { file, metadata, path: &index }, asked)?
                }
                // An index outside the root is treated as missing.
                Err(error) if error.kind() != ErrorKind::NotFound && !leads_out(&error) => {
                    return Err(error);
                }
                _ => {
                    let page = Page::open(root, place, &directory, asked.options.dotfiles)?;
                    if asked.method != Method::HEAD {
                        return Ok(Served::Listing(page));
                    }
                    // The length is unknown: finding it would mean making the page.
                    page_of(AnswerBody::unmade())
                }
            }
        }
    }))
}

/// The answer with `page.html` for `/page`, if there is such a file.
fn page_named<C>(
    root: &Root,
    place: &Place,
    asked: &Asked,
) -> io::Result<Option<Response<AnswerBody<C>>>> {
    if place.means_directory() {
        return Ok(None);
    }
    let mut name = OsString::from(place.path());
    name.push(".html");
    let path = PathBuf::from(name);
    match root.look_up(&path) {
        Ok(Found::File(file, metadata)) => {
            serve_file(root, Chosen { file, metadata, path: &path }, asked).map(Some)
        }
        _ => Ok(None),
    }
}

/// The answer where nothing is served: the only page of the site, its page for that, or a line.
fn missing<C>(root: &Root, place: &Place, asked: &Asked) -> io::Result<Response<AnswerBody<C>>> {
    if asked.options.is_one_page && !place.names_a_file() {
        let path = Path::new(INDEX);
        if let Ok(Found::File(file, metadata)) = root.look_up(path) {
            return serve_file(root, Chosen { file, metadata, path }, asked);
        }
    }
    let path = Path::new(NOT_FOUND);
    if let Ok(Found::File(file, metadata)) = root.look_up(path) {
        let length = metadata.len();
        let body = match asked.method {
            Method::HEAD => AnswerBody::omitted(length),
            _ => AnswerBody::pieces(Reader::new(file, 0..length)?),
        };
        let mut page = of_file(&kind_of(path), body);
        *page.status_mut() = StatusCode::NOT_FOUND;
        return Ok(page);
    }
    Ok(answer::not_found())
}

fn page_of<C>(page: AnswerBody<C>) -> Response<AnswerBody<C>> {
    let mut response = answer::of_type(HTML, page);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, INERT);
    response
}

fn redirect<C>(mut target: String, query: Option<&str>) -> Response<AnswerBody<C>> {
    let mut response = answer::line(
        StatusCode::PERMANENT_REDIRECT,
        "moved: the path of a directory ends in `/`\n",
    );
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    // Always a valid field value: the path is escaped, and the query came in a target.
    if let Ok(target) = HeaderValue::try_from(target) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

/// A file that is to be sent, or of which something in another coding is.
struct Chosen<'a> {
    file: File,
    metadata: Metadata,
    path: &'a Path,
}

fn serve_file<C>(
    root: &Root,
    chosen: Chosen<'_>,
    asked: &Asked,
) -> io::Result<Response<AnswerBody<C>>> {
    let Chosen { file, metadata, path } = chosen;
    let kind = kind_of(path);
    let codings = if coding::is_worth_it(&kind) { coding::accepted(&asked.fields) } else { vec![] };
    let is_made_now = asked.makes_now(&codings, metadata.len());
    let mut response = match sibling(root, path, &metadata, &codings) {
        Some((coding, file, metadata)) => {
            let validators = Validators::of(&metadata).coded(coding, false);
            coded(send(file, metadata.len(), &kind, &validators, asked)?, coding)
        }
        None if is_made_now => compress(file, &metadata, &kind, asked)?,
        None => send(file, metadata.len(), &kind, &Validators::of(&metadata), asked)?,
    };
    let fields = response.headers_mut();
    if coding::is_worth_it(&kind) {
        fields.insert(VARY, ACCEPTED);
    }
    if let Some(value) = asked.options.cache.iter().find_map(|rule| rule.value(path)) {
        fields.insert(CACHE_CONTROL, value);
    }
    Ok(response)
}

/// The first of the siblings that is not older than the file.
fn sibling(
    root: &Root,
    path: &Path,
    metadata: &Metadata,
    codings: &[Coding],
) -> Option<(Coding, File, Metadata)> {
    let changed = metadata.modified().ok()?;
    codings.iter().find_map(|coding| match root.look_up(&coding.sibling(path)) {
        Ok(Found::File(file, metadata)) if metadata.modified().ok()? >= changed => {
            Some((*coding, file, metadata))
        }
        _ => None,
    })
}

/// Sends the file compressed, or as it is if many are.
fn compress<C>(
    file: File,
    metadata: &Metadata,
    kind: &Mime,
    asked: &Asked,
) -> io::Result<Response<AnswerBody<C>>> {
    let validators = Validators::of(metadata).coded(Coding::Gzip, true);
    let mut response = match validators.weigh(&asked.fields) {
        Verdict::NotModified => status(StatusCode::NOT_MODIFIED, AnswerBody::unmade()),
        Verdict::Failed => return Ok(failed()),
        Verdict::Proceed if asked.method == Method::HEAD => of_file(kind, AnswerBody::unmade()),
        Verdict::Proceed => match asked.options.compressors.as_ref().map(|it| it.begin(file)) {
            Some(Ok(compressed)) => of_file(kind, AnswerBody::pieces(Reader::to_end(compressed))),
            Some(Err(file)) => {
                return send(file, metadata.len(), kind, &Validators::of(metadata), asked);
            }
            None => of_file(kind, AnswerBody::default()),
        },
    };
    validators.tell(response.headers_mut());
    Ok(coded(response, Coding::Gzip))
}

/// Tells the coding of an answer that has the file for content.
fn coded<C>(mut response: Response<AnswerBody<C>>, coding: Coding) -> Response<AnswerBody<C>> {
    if response.status().is_success() {
        response.headers_mut().insert(CONTENT_ENCODING, coding.field());
    }
    response
}

/// Sends the file, or the part of it that is asked for.
fn send<C>(
    file: File,
    length: u64,
    kind: &Mime,
    validators: &Validators,
    asked: &Asked,
) -> io::Result<Response<AnswerBody<C>>> {
    let mut response = match validators.weigh(&asked.fields) {
        Verdict::NotModified => status(StatusCode::NOT_MODIFIED, AnswerBody::omitted(length)),
        Verdict::Failed => return Ok(failed()),
        Verdict::Proceed if asked.method == Method::HEAD => {
            of_file(kind, AnswerBody::omitted(length))
        }
        Verdict::Proceed => match asked.range(validators, length) {
            Wanted::Whole => of_file(kind, AnswerBody::pieces(Reader::new(file, 0..length)?)),
            Wanted::Part(range) => {
                let told = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                let mut part = of_file(kind, AnswerBody::pieces(Reader::new(file, range)?));
                *part.status_mut() = StatusCode::PARTIAL_CONTENT;
                with_range(part, &told)
            }
            Wanted::Unsatisfiable => {
                let text = format!("range not satisfiable: the file has {length} bytes\n");
                let refused = answer::line(StatusCode::RANGE_NOT_SATISFIABLE, text);
                return Ok(with_range(refused, &format!("bytes */{length}")));
            }
        },
    };
    validators.tell(response.headers_mut());
    response.headers_mut().insert(ACCEPT_RANGES, BYTES);
    Ok(response)
}

fn failed<C>() -> Response<AnswerBody<C>> {
    let text = "precondition failed: the file is not the version that the request names\n";
    answer::line(StatusCode::PRECONDITION_FAILED, text)
}

impl Asked {
    /// Whether a file of this length is to be compressed now. Ranges are of the file as it is.
    fn makes_now(&self, codings: &[Coding], length: u64) -> bool {
        self.options.compressors.is_some()
            && codings.contains(&Coding::Gzip)
            && Compressors::want(length)
            && !self.fields.contains_key(RANGE)
    }

    /// The part that is asked for. Several `Range` fields are ignored.
    fn range(&self, validators: &Validators, length: u64) -> Wanted {
        let mut ranges = self.fields.get_all(RANGE).iter();
        match (ranges.next(), ranges.next()) {
            (Some(range), None) if validators.allow_part(&self.fields) => {
                Wanted::read(range.as_bytes(), length)
            }
            _ => Wanted::Whole,
        }
    }
}

fn status<C>(status: StatusCode, body: AnswerBody<C>) -> Response<AnswerBody<C>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// The type of a file, by its name.
fn kind_of(path: &Path) -> Mime {
    mime_guess::from_path(path).first_or_octet_stream()
}

/// An answer with a file of this type. Text is assumed to be UTF-8.
fn of_file<C>(kind: &Mime, body: AnswerBody<C>) -> Response<AnswerBody<C>> {
    let charset = if kind.type_() == "text" { "; charset=utf-8" } else { "" };
    let mut response = Response::new(body);
    if let Ok(value) = HeaderValue::try_from(format!("{kind}{charset}")) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

fn with_range<C>(mut response: Response<AnswerBody<C>>, range: &str) -> Response<AnswerBody<C>> {
    if let Ok(range) = HeaderValue::try_from(range) {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    response
}

/// Whether there is nothing for a client. Outside of the root nothing exists, whatever the system has there.
fn is_missing(error: &io::Error) -> bool {
    let missing = [Errno::NOENT, Errno::NOTDIR, Errno::NAMETOOLONG, Errno::LOOP];
    Errno::from_io_error(error).is_some_and(|it| missing.contains(&it)) || leads_out(error)
}

/// The answer to an error of the system. Faults of the server are logged.
fn refusal<C>(error: &io::Error) -> Response<AnswerBody<C>> {
    match Errno::from_io_error(error) {
        _ if is_missing(error) => answer::not_found(),
        // Opening a socket gives ENXIO, and a device without a driver ENODEV.
        Some(Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::NODEV) => {
            answer::line(StatusCode::FORBIDDEN, "forbidden: the server may not read this file\n")
        }
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => {
            // The accept loop already warns about this. A warning for each request would flood the
            // log.
            tracing::debug!(%error, "out of descriptors or memory; a request for a file was answered with 503");
            answer::line(
                StatusCode::SERVICE_UNAVAILABLE,
                "the server is out of open files or memory; try again later\n",
            )
        }
        _ => {
            tracing::error!(%error, "cannot read a file; the request was answered with 500");
            answer::line(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the server cannot read this file; its log says why\n",
            )
        }
    }
}

#[cfg(test)]
mod tests;
