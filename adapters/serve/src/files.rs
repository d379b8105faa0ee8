//! Serves the files of a directory, for GET and HEAD.
//!
//! No path leads out of the directory (see `path` and `root`), and the answers don't tell whether
//! something exists outside. A directory is answered with its `index.html` or a listing. Pipes,
//! sockets and devices are refused without being opened. Names that begin with a dot are hidden,
//! except for `/.well-known/`. Conditional requests and single byte ranges follow RFC 9110. Files
//! and listings are produced in pieces, as the peer reads them.

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
use conditional::{Validators, Verdict};
use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use listing::{Listing, Page};
use path::Place;
use range::Wanted;
use reader::Reader;
use root::{Found, Root, leads_out};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

const INDEX: &str = "index.html";
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// A listing runs no scripts and loads nothing.
const INERT: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");

/// The files of a directory.
#[derive(Clone, Debug)]
pub struct Files {
    root: Arc<Root>,
    dotfiles: bool,
}

const METHODS: &str = "GET, HEAD, OPTIONS";

impl Files {
    /// Serves the directory at `path`. It stays open, so it may be moved or renamed.
    ///
    /// # Errors
    /// If `path` is not a directory, or cannot be read.
    pub fn open(path: &Path) -> io::Result<Files> {
        Ok(Files { root: Arc::new(Root::open(path)?), dotfiles: false })
    }

    /// Whether to serve and list names that begin with a dot, such as `.git`. They are hidden by
    /// default, except for `/.well-known/` (RFC 8615).
    pub fn dotfiles(mut self, serve: bool) -> Files {
        self.dotfiles = serve;
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
        if place.is_hidden() && !self.dotfiles {
            return Answer::now(answer::not_found());
        }
        let asked = Asked {
            method: request.method().clone(),
            fields: request.headers().clone(),
            query: request.uri().query().map(str::to_owned),
            dotfiles: self.dotfiles,
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

/// The parts of a request that matter beside its path, and the server's `dotfiles` setting.
struct Asked {
    method: Method,
    fields: HeaderMap,
    query: Option<String>,
    dotfiles: bool,
}

/// What a path leads to.
enum Served<C> {
    Answer(Response<AnswerBody<C>>),
    /// A directory's page, not made yet.
    Listing(Page),
}

/// Finds what a request asks for. Blocks on the file system.
fn serve<C>(root: Arc<Root>, place: Place, asked: &Asked) -> io::Result<Served<C>> {
    Ok(Served::Answer(match root.look_up(place.path())? {
        Found::File(..) if place.means_directory() => answer::not_found(),
        Found::File(file, metadata) => serve_file(file, &metadata, place.path(), asked)?,
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
                Ok(Found::File(file, metadata)) => serve_file(file, &metadata, &index, asked)?,
                // An index outside the root is treated as missing.
                Err(error) if error.kind() != ErrorKind::NotFound && !leads_out(&error) => {
                    return Err(error);
                }
                _ => {
                    let page = Page::open(root, place, &directory, asked.dotfiles)?;
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

fn serve_file<C>(
    file: File,
    metadata: &Metadata,
    path: &Path,
    asked: &Asked,
) -> io::Result<Response<AnswerBody<C>>> {
    let validators = Validators::of(metadata);
    let length = metadata.len();
    let mut response = match validators.weigh(&asked.fields) {
        Verdict::NotModified => status(StatusCode::NOT_MODIFIED, AnswerBody::omitted(length)),
        Verdict::Failed => {
            let text = "precondition failed: the file is not the version that the request names\n";
            return Ok(answer::line(StatusCode::PRECONDITION_FAILED, text));
        }
        Verdict::Proceed if asked.method == Method::HEAD => {
            of_file(path, AnswerBody::omitted(length))
        }
        Verdict::Proceed => match asked.range(&validators, length) {
            Wanted::Whole => of_file(path, AnswerBody::pieces(Reader::new(file, 0..length)?)),
            Wanted::Part(range) => {
                let told = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                let mut part = of_file(path, AnswerBody::pieces(Reader::new(file, range)?));
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

impl Asked {
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

/// An answer whose type follows from the file's name. Text is assumed to be UTF-8.
fn of_file<C>(path: &Path, body: AnswerBody<C>) -> Response<AnswerBody<C>> {
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    let charset = if guess.type_() == "text" { "; charset=utf-8" } else { "" };
    let mut response = Response::new(body);
    if let Ok(value) = HeaderValue::try_from(format!("{guess}{charset}")) {
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

/// The answer to an error of the system. Faults of the server are logged.
fn refusal<C>(error: &io::Error) -> Response<AnswerBody<C>> {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP) => {
            answer::not_found()
        }
        // Outside of the root nothing exists for a client, whatever the system has there.
        _ if leads_out(error) => answer::not_found(),
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
