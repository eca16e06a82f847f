use crate::bucket::check_key;
use async_trait::async_trait;
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use s3s_fs::FileSystem;
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The operations that are served, on files. Whatever is not here is answered with `NotImplemented`.
///
/// s3s-fs writes an object next to the buckets and renames it into place, so that nobody sees half of it.
/// This adds what it leaves out: a folder is not an object, uploads are bounded, and an object is dated by
/// the machine's clock when its upload ended, not by the file system's, which may lag by some milliseconds
/// and could so put an upload into the second before.
pub(super) struct Objects {
    files: FileSystem,
    dir: PathBuf,
    max_object_bytes: u64,
}

impl Objects {
    pub fn open(dir: &Path, max_object_bytes: u64) -> Result<Self, String> {
        // Its error type says nothing of use beyond its debug form.
        let files = FileSystem::new(dir).map_err(|e| format!("{e:?}"))?;
        Ok(Self { files, dir: dir.to_owned(), max_object_bytes })
    }

    /// The file of an object. The gate has checked bucket and key.
    fn path(&self, bucket: &str, key: &str) -> PathBuf {
        self.dir.join(bucket).join(key)
    }

    async fn refuse_folder(&self, bucket: &str, key: &str) -> S3Result<()> {
        match tokio::fs::metadata(self.path(bucket, key)).await {
            Ok(metadata) if metadata.is_dir() => Err(s3_error!(NoSuchKey)),
            _ => Ok(()),
        }
    }

    fn refuse_large(&self, length: Option<i64>) -> S3Result<()> {
        match length.map(u64::try_from) {
            Some(Ok(length)) if length <= self.max_object_bytes => Ok(()),
            Some(_) => Err(s3_error!(EntityTooLarge)),
            None => Err(s3_error!(MissingContentLength)),
        }
    }

    fn date(&self, bucket: &str, key: &str) -> S3Result<()> {
        let file = File::options().write(true).open(self.path(bucket, key));
        file.and_then(|file| file.set_modified(SystemTime::now())).map_err(|e| s3_error!(e, InternalError))
    }
}

#[async_trait]
impl S3 for Objects {
    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.refuse_folder(&req.input.bucket, &req.input.key).await?;
        self.files.get_object(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.refuse_folder(&req.input.bucket, &req.input.key).await?;
        self.files.head_object(req).await
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.refuse_large(req.input.content_length)?;
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let answer = self.files.put_object(req).await?;
        self.date(&bucket, &key)?;
        Ok(answer)
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        if self.refuse_folder(&req.input.bucket, &req.input.key).await.is_err() {
            // No such object: to delete it is no error.
            return Ok(S3Response::new(DeleteObjectOutput::default()));
        }
        self.files.delete_object(req).await
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        // These keys are in the content, where the gate does not see them.
        if req.input.delete.objects.iter().any(|object| check_key(&object.key).is_err()) {
            return Err(s3_error!(InvalidArgument, "this server does not take such a key"));
        }
        for object in &req.input.delete.objects {
            self.refuse_folder(&req.input.bucket, &object.key).await?;
        }
        self.files.delete_objects(req).await
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        self.files.list_objects(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(req).await
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.files.get_bucket_location(req).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.files.create_multipart_upload(req).await
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.refuse_large(req.input.content_length)?;
        self.files.upload_part(req).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let answer = self.files.complete_multipart_upload(req).await?;
        self.date(&bucket, &key)?;
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.files.abort_multipart_upload(req).await
    }
}
