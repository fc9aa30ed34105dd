ARG REST=1 UNUSED=3
FROM debian AS base
ENV A=1  B=2
FROM base AS venv
RUN echo hi \
    there > /hi
FROM base AS api
ARG Z=1
LABEL a=b   c="d  e"
COPY --from=venv --chown=1 /hi /opt/hi
COPY --from=1 /hi /y
COPY web  /web/
COPY <<EOF /heredoc
$A x
EOF
RUN <<EOF
echo a > /a
EOF
RUN ["sh",  "-c", "echo b > /b"]
EXPOSE 80   81
VOLUME ["/v", "/w"]
WORKDIR /srv
USER 1
ONBUILD  RUN  a
HEALTHCHECK --interval=3s CMD a   b
CMD ["a",   "b"]
ENTRYPOINT exec  a
