# The persistent interpreter of the agent: carries out what comes over the control socket, keeps its variables.
import ast, builtins, ctypes, json, os, signal, socket, struct, sys, traceback, types


def _main():
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    libc = ctypes.CDLL(None)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    module = types.ModuleType("__main__")
    module.__builtins__ = builtins
    sys.modules["__main__"] = module
    sys.argv = [""]
    sys.path[0:0] = [""]
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def read(count):
        parts = []
        while count:
            part = control.recv(min(count, 1 << 20))
            if not part:
                os._exit(0)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def request():
        # The files come with the first byte of the length.
        header, files, _, _ = socket.recv_fds(control, 4, 3)
        if not header:
            os._exit(0)
        length, = struct.unpack("<I", header + read(4 - len(header)))
        return json.loads(read(length)), files

    def reply(**fields):
        body = json.dumps(fields).encode()
        control.sendall(struct.pack("<I", len(body)) + body)

    def streams():
        # A program may have replaced or closed them.
        sys.stdin = sys.__stdin__ = open(0, "r", encoding="utf-8", errors="surrogateescape", closefd=False)
        sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
        sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)

    def flush():
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            try:
                stream.flush()
            except Exception:
                pass
        libc.fflush(None)

    def reseed():
        seed = os.urandom(32)
        import random
        random.seed(seed)
        numpy = sys.modules.get("numpy")
        if numpy is not None and hasattr(numpy, "random"):
            numpy.random.seed(list(struct.unpack("<8I", seed)))
        ssl = sys.modules.get("ssl") or sys.modules.get("_ssl")
        if ssl is not None:
            ssl.RAND_add(os.urandom(32), 32.0)

    def carry_out(asked):
        source, name = asked["source"], asked["name"] or "<input>"
        value = None
        try:
            if asked["folder"] is not None:
                os.chdir(asked["folder"])
            tree = ast.parse(source, name)
            last = None
            if asked["op"] == "prompt" and tree.body and isinstance(tree.body[-1], ast.Expr):
                last = ast.Expression(tree.body.pop().value)
            code = compile(tree, name, "exec")
            last = last and compile(last, name, "eval")
            if asked["op"] == "check":
                return dict(end="exited", code=0, value=None)
            import linecache
            linecache.cache[name] = (len(source), None, source.splitlines(True), name)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                exec(code, module.__dict__)
                if last is not None:
                    result = eval(last, module.__dict__)
                    if result is not None:
                        module.__dict__["_"] = result
                        value = repr(result)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            return dict(end="exited", code=0, value=value)
        except SystemExit as error:
            code = error.code
            if code is not None and not isinstance(code, int):
                print(code, file=sys.stderr)
                code = 1
            return dict(end="exited", code=(code or 0) & 0xFF, value=None)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            return dict(end="interrupted")
        except BaseException as error:
            shown = traceback.TracebackException.from_exception(error)
            # The frames of this driver say nothing to anybody.
            while shown.stack and shown.stack[0].filename == __file__:
                del shown.stack[0]
            for line in shown.format():
                sys.stderr.write(line)
            try:
                message = str(error)
            except Exception:
                message = ""
            return dict(end="exception", kind=type(error).__name__, message=message)

    while True:
        asked, files = request()
        if asked["op"] == "reseed":
            reseed()
            reply(end="exited", code=0, value=None)
            continue
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        streams()
        sys.argv = [asked["name"], *asked["args"]]
        before = dict(os.environ)
        os.environ.update(asked["environment"])
        ended = carry_out(asked)
        if asked["environment"]:
            for name, _ in asked["environment"]:
                if name in before:
                    os.environ[name] = before[name]
                else:
                    os.environ.pop(name, None)
        flush()
        for target in (0, 1, 2):
            os.dup2(null, target)
        reply(**ended)


__file__ = "/run/ukernel/python.py"
_main()
