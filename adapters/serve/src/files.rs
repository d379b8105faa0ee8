//! The files of a directory, for GET and HEAD.
//!
//! A path cannot leave the directory, by whatever means (see `path` and `root`): outside of it there is
//! nothing. Directories give their `index.html`, or a listing; pipes, sockets and devices are refused
//! without being opened. Names that begin with a dot are hidden, but for `/.well-known/`. Conditional
//! requests and single byte ranges are answered as RFC 9110 says. Content is read, and a listing is made,
//! piece by piece as the peer takes it.

mod conditional;
mod date;
mod listing;
mod path;
mod range;
mod reader;
mod root;

pub(crate) use listing::Listing;
pub(crate) use reader::Reader;

use crate::answer::{self, Answer, HTML};
use crate::body::AnswerBody;
use blocking::unblock;
use conditional::{Validators, Verdict};
use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use listing::Page;
use path::Place;
use range::Wanted;
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
/// A listing runs nothing and loads nothing.
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
    /// Serves the directory at `path`, wherever that is moved.
    ///
    /// # Errors
    /// If it is no directory, or cannot be read.
    pub fn open(path: &Path) -> io::Result<Files> {
        Ok(Files { root: Arc::new(Root::open(path)?), dotfiles: false })
    }

    /// Whether to serve and list names that begin with a dot, such as `.git`. They are hidden by
    /// default, but for `/.well-known/` (RFC 8615).
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

    /// Answers one request; its content is not looked at.
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
            let text = "the path can be read in two ways\n";
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

/// What a request says besides its path, and what it may see.
struct Asked {
    method: Method,
    fields: HeaderMap,
    query: Option<String>,
    dotfiles: bool,
}

/// What a path leads to.
enum Served<C> {
    Answer(Response<AnswerBody<C>>),
    /// A directory's page, to be made when its turn has come.
    Listing(Page),
}

/// Finds what a request asks for. Blocks, but no longer than the file system does.
fn serve<C>(root: Arc<Root>, place: Place, asked: &Asked) -> io::Result<Served<C>> {
    Ok(Served::Answer(match root.look_up(place.path())? {
        Found::File(..) if place.means_directory() => answer::not_found(),
        Found::File(file, metadata) => serve_file(file, &metadata, place.path(), asked)?,
        Found::Special => answer::line(StatusCode::FORBIDDEN, "this is not a file\n"),
        Found::Directory(_) if !place.means_directory() => {
            redirect(place.directory_target(), asked.query.as_deref())
        }
        Found::Directory(directory) => {
            let index = place.entry(OsStr::new(INDEX));
            match root.look_up(&index) {
                Ok(Found::File(file, metadata)) => serve_file(file, &metadata, &index, asked)?,
                // One that leads out of the root is as good as none.
                Err(error) if error.kind() != ErrorKind::NotFound && !leads_out(&error) => {
                    return Err(error);
                }
                _ => {
                    let page = Page::open(root, place, &directory, asked.dotfiles)?;
                    if asked.method != Method::HEAD {
                        return Ok(Served::Listing(page));
                    }
                    // Its length would be known only if it were made.
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
    let mut response = answer::line(StatusCode::PERMANENT_REDIRECT, "a directory ends in /\n");
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    // The path is escaped, and the query as it came in a target: always a value.
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
            let text = "the file is another than was asked for\n";
            return Ok(answer::line(StatusCode::PRECONDITION_FAILED, text));
        }
        Verdict::Proceed if asked.method == Method::HEAD => {
            of_file(path, AnswerBody::omitted(length))
        }
        Verdict::Proceed => match asked.range(&validators, length) {
            Wanted::Whole => of_file(path, AnswerBody::file(Reader::new(file, 0..length)?)),
            Wanted::Part(range) => {
                let told = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                let mut part = of_file(path, AnswerBody::file(Reader::new(file, range)?));
                *part.status_mut() = StatusCode::PARTIAL_CONTENT;
                with_range(part, &told)
            }
            Wanted::Unsatisfiable => {
                let text = "the file does not reach that far\n";
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
    /// The part that is asked for; several `Range` fields are as good as none.
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

/// An answer of the type that the file's name says; text is taken for UTF-8.
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

/// What the system's refusal means to the client; what is the server's fault is logged.
fn refusal<C>(error: &io::Error) -> Response<AnswerBody<C>> {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP) => {
            answer::not_found()
        }
        // Outside of the root there is nothing, whatever the system has there.
        _ if leads_out(error) => answer::not_found(),
        // The last two are what opening a socket, or the device of no driver, comes to.
        Some(Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::NODEV) => {
            answer::line(StatusCode::FORBIDDEN, "this is not to be read\n")
        }
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => {
            // Said once for all by whoever cannot accept: a line for each request would be a flood.
            tracing::debug!(%error, "no room to serve a file");
            answer::line(StatusCode::SERVICE_UNAVAILABLE, "there is no room for this now\n")
        }
        _ => {
            tracing::error!(%error, "a file cannot be served");
            answer::line(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n")
        }
    }
}

#[cfg(test)]
mod tests;
