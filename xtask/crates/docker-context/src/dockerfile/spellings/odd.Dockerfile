# comments

  arg REST=2
ARG UNUSED=4
FROM scratch as more
COPY nothing /
from debian as BASIS
  env A=1 B=2  
from basis AS builder
# here
RUN   echo hi \
# and here

    there > /hi

FROM basis AS API
  arg  Z=1
LABEL  a=b c="d  e"
COPY   --from=builder   --chown=1   /hi \
  /opt/hi
COPY --from=2 /hi   /y
copy web \
# more
 /web/
COPY   <<EOF   /heredoc
$A x
EOF
RUN   <<EOF
echo a > /a
EOF
RUN [ "sh","-c","echo b > /b" ]
expose 80 81
VOLUME [  "/v","/w" ]
WORKDIR    /srv
USER    1
ONBUILD  RUN  a
HEALTHCHECK   --interval=3s   CMD a   b
CMD [ "a","b" ]
ENTRYPOINT    exec  a
FROM api AS after
COPY x /
